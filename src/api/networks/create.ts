import { forbidden, invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { notManager } from "../swarm/texts.ts";
import { createBody, readCreateBody } from "./wire.ts";

/** `POST /networks/create` */
export async function createNetwork({ engine, request, version, signal }: Call): Promise<Reply> {
  const body = await readBody(request, createBody);
  const spec = readCreateBody(body, version);
  if (spec.driver === "overlay") throw forbidden(notManager);
  if (!["", "local", "swarm", null, undefined].includes(body.Scope))
    throw invalid(`invalid network scope '${body.Scope}': it is 'local' or 'swarm'`);
  if (body.Scope === "swarm" && spec.driver !== "overlay")
    throw forbidden("cannot create a swarm scoped network when swarm is not active");
  const { id, warning } = await engine.networks.create(spec, signal);
  return json({ Id: id, Warning: warning }, 201);
}
