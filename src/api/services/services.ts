import { system } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, empty, json, type Reply } from "../call.ts";
import { flag, objectVersion, param, readFilters, strictFlag } from "../query.ts";
import { networksOf, readSpec } from "./read-spec.ts";
import { serviceSpecBody } from "./spec-body.ts";
import { serviceJson } from "./wire.ts";

/** `GET /services` */
export const listServices = ({ engine, query }: Call): Reply =>
  json(
    engine.services
      .list(readFilters(query), flag(query, "status"))
      .map(({ service, status }) => serviceJson(service, { status })),
  );

/** `GET /services/{id}` */
export const inspectService = (call: Call): Reply => {
  const insertDefaults = strictFlag(call.query, "insertDefaults");
  return json(serviceJson(call.engine.services.inspect(param(call, "id")), { insertDefaults }));
};

/** `POST /services/create` */
export async function createService(call: Call): Promise<Reply> {
  const id = await call.engine.services.create(await specOf(call));
  return json({ ID: id, Warnings: null }, 201);
}

/** `POST /services/{id}/update` */
export async function updateService(call: Call): Promise<Reply> {
  const { engine, query } = call;
  const spec = await specOf(call);
  const version = objectVersion(query, "service");
  const rollback = query.get("rollback") || "none";
  const registryAuthFrom = query.get("registryAuthFrom") || "spec";
  if (registryAuthFrom !== "spec" && registryAuthFrom !== "previous-spec")
    throw system("unsupported registryAuthFrom value");
  if (rollback === "previous") await engine.services.rollBack(param(call, "id"), version);
  else if (rollback === "none") await engine.services.update(param(call, "id"), { version, spec, registryAuthFrom });
  else throw system(`unrecognized rollback option ${rollback}`);
  return json({ Warnings: null });
}

/** `DELETE /services/{id}` */
export async function removeService(call: Call): Promise<Reply> {
  await call.engine.services.remove(param(call, "id"));
  return empty(200);
}

async function specOf({ engine, request }: Call) {
  const body = await readBody(request, serviceSpecBody);
  const networks = engine.services.networkIds(networksOf(body).map(({ Target }) => Target ?? ""));
  const auth = String(request.headers["x-registry-auth"] ?? "");
  return readSpec(body, { name: body.Name || engine.services.newName(), networks, auth });
}
