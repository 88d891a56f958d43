import { forbidden, invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { createBody, readCreateBody } from "./wire.ts";

/** `POST /networks/create` */
export async function createNetwork({ engine, request, version, signal }: Call): Promise<Reply> {
  const body = await readBody(request, createBody);
  const spec = readCreateBody(body, version);
  if (!["", "local", "swarm", null, undefined].includes(body.Scope))
    throw invalid(`invalid network scope '${body.Scope}': it is 'local' or 'swarm'`);
  if (body.Scope === "swarm" && spec.driver !== "overlay")
    throw forbidden("cannot create a swarm scoped network when swarm is not active");
  // moby libnetwork/controller.go
  if (body.Scope === "local" && spec.driver === "overlay")
    throw forbidden("cannot downgrade network scope for overlay networks");
  const { id, warning } = await engine.networks.create(spec, signal);
  return json({ Id: id, Warning: warning }, 201);
}
