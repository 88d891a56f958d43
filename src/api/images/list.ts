import type { Engine, Filters } from "../../engine/engine.ts";
import { checkFilters, passesLabels, untilTime } from "../../engine/filters.ts";
import { invalid } from "../../lib/errors.ts";
import type { Image } from "../../runtime/runtime.ts";
import { type Call, json, type Reply } from "../call.ts";
import { param, readFilters } from "../query.ts";
import { historyJson, imageJson, imageSummaryJson } from "./wire.ts";

const known = ["before", "dangling", "label", "label!", "reference", "since", "until"];

/** `GET /images/json`, newest first. */
export async function listImages({ engine, query, version }: Call): Promise<Reply> {
  const legacy = query.get("filter") ?? "";
  const filters: Filters = new Map([...(legacy ? [["reference", [legacy]] as const] : []), ...readFilters(query)]);
  checkFilters(filters, known);
  const passes = await imageTest(engine, filters);
  const images = (await engine.images.list()).filter(passes);
  const sorted = images.toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1));
  return json(sorted.map((image) => imageSummaryJson(onlyTags(image, filters), version)));
}

async function imageTest(engine: Engine, filters: Filters): Promise<(image: Image) => boolean> {
  const until = untilTime(filters);
  const time = async (key: string) => {
    const name = filters.get(key)?.[0];
    return name === undefined ? undefined : Date.parse((await engine.images.find(name)).createdAt);
  };
  const before = await time("before");
  const since = await time("since");
  const dangling = filters.get("dangling")?.[0];
  if (dangling !== undefined && !/^(1|0|t|f|true|false)$/i.test(dangling))
    throw invalid(`invalid filter 'dangling=[${dangling}]'`);
  const references = filters.get("reference") ?? [];
  return (image) => {
    const created = Date.parse(image.createdAt);
    return (
      passesLabels(filters, image.config.Labels ?? {}) &&
      created <= until &&
      (before === undefined || created < before) &&
      (since === undefined || created > since) &&
      (dangling === undefined || /^(1|t|true)$/i.test(dangling) === (image.tags.length === 0)) &&
      (references.length === 0 || references.some((pattern) => image.tags.some((tag) => fits(tag, pattern))))
    );
  };
}

/** `busybox`, `busybox:1.*`, `*:latest`: a shell pattern over name and tag, or over the name alone. */
function fits(tag: string, pattern: string): boolean {
  const name = tag.slice(0, tag.lastIndexOf(":"));
  const source = pattern
    .replace(/[.+^${}()|\\]/g, "\\$&")
    .replaceAll("*", "[^/]*")
    .replaceAll("?", "[^/]");
  const test = new RegExp(`^${source}$`);
  return test.test(tag) || test.test(name);
}

function onlyTags(image: Image, filters: Filters): Image {
  const references = filters.get("reference") ?? [];
  if (references.length === 0) return image;
  return { ...image, tags: image.tags.filter((tag) => references.some((pattern) => fits(tag, pattern))) };
}

/** `GET /images/{name}/json` */
export const inspectImage = async (call: Call): Promise<Reply> =>
  json(imageJson(await call.engine.images.find(param(call, "name")), call.version));

/** `GET /images/{name}/history` */
export const imageHistory = async (call: Call): Promise<Reply> =>
  json(historyJson(await call.engine.images.find(param(call, "name"))));
