import { invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, empty, json } from "../call.ts";
import { param, readFilters } from "../query.ts";
import type { Route } from "../router.ts";
import { configBody, contentJson, readContent, secretBody } from "./wire.ts";

/** The operations on secrets or configs, which differ in what is shown. */
export function contentRoutes(things: "secrets" | "configs"): readonly Route[] {
  const withData = things === "configs";
  const schema = withData ? configBody : secretBody;
  const verbs = ({ engine }: Call) => engine[things];
  return [
    {
      method: "GET",
      path: `/${things}`,
      handler: (call) =>
        json(
          verbs(call)
            .list(readFilters(call.query))
            .map((row) => contentJson(row, withData)),
        ),
    },
    {
      method: "POST",
      path: `/${things}/create`,
      handler: async (call) => {
        const wish = readContent(await readBody(call.request, schema), call.version);
        return json({ ID: await verbs(call).create(wish) }, 201);
      },
    },
    {
      method: "GET",
      path: `/${things}/{id}`,
      handler: (call) => json(contentJson(verbs(call).inspect(param(call, "id")), withData)),
    },
    {
      method: "POST",
      path: `/${things}/{id}/update`,
      handler: async (call) => {
        const { data, name, labels } = readContent(await readBody(call.request, schema), call.version);
        const change = { version: versionOf(call, things), name, labels, ...(data !== "" && { data }) };
        await verbs(call).update(param(call, "id"), change);
        return empty(200);
      },
    },
    {
      method: "DELETE",
      path: `/${things}/{id}`,
      handler: async (call) => {
        await verbs(call).remove(param(call, "id"));
        return empty();
      },
    },
  ];
}

/** @throws {EngineError} invalid, Docker's text */
function versionOf({ query }: Call, things: "secrets" | "configs"): number {
  const text = query.get("version") ?? "";
  if (!/^\d{1,15}$/.test(text)) throw invalid(`invalid ${things === "secrets" ? "secret" : "config"} version`);
  return Number(text);
}
