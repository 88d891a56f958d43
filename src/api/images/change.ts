import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import type { RegistryAuth } from "../../runtime/runtime.ts";
import { readBody } from "../body.ts";
import { type Call, empty, json, progress, type Reply } from "../call.ts";
import { flag, param, readFilters } from "../query.ts";
import { text } from "../schemas.ts";
import { readAuthHeader, withTag } from "./wire.ts";

/** `POST /images/{name}/tag` */
export async function tagImage(call: Call): Promise<Reply> {
  const repository = call.query.get("repo") ?? "";
  if (repository === "") throw invalid("invalid reference format");
  await call.engine.images.tag(param(call, "name"), withTag(repository, call.query.get("tag") || "latest"));
  return empty(201);
}

/** `POST /images/{name}/push` */
export function pushImage(call: Call): Reply {
  const reference = withTag(param(call, "name"), call.query.get("tag") ?? "");
  const auth = readAuthHeader(call.request.headers["x-registry-auth"]);
  return progress((tell) => call.engine.images.push(reference, auth, tell, call.signal));
}

type Removed = readonly ({ readonly untagged: string } | { readonly deleted: string })[];
const removedJson = (done: Removed) =>
  done.map((step) => ("untagged" in step ? { Untagged: step.untagged } : { Deleted: step.deleted }));

/** `DELETE /images/{name}` */
export async function removeImage(call: Call): Promise<Reply> {
  return json(removedJson(await call.engine.images.remove(param(call, "name"), flag(call.query, "force"))));
}

/** `POST /images/prune` */
export async function pruneImages({ engine, query }: Call): Promise<Reply> {
  const { done, freed } = await engine.images.prune(readFilters(query));
  return json({ ImagesDeleted: done.length > 0 ? removedJson(done) : null, SpaceReclaimed: freed });
}

const authBody = z.looseObject({
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
  serveraddress: text,
});

/** `POST /auth` */
export async function login({ engine, request }: Call): Promise<Reply> {
  const body = await readBody(request, authBody);
  const given = Object.entries(body).filter(([key, value]) => key in authBody.shape && value);
  const { status, identityToken } = await engine.images.login(Object.fromEntries(given) as RegistryAuth);
  return json({ Status: status, IdentityToken: identityToken });
}
