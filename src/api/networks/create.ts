import { forbidden, invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { createBody, readCreateBody } from "./wire.ts";

/** Docker would have such a network on each node, with addresses of the node's own: nothing of it is the swarm's but the name. */
const whyNotOfSwarm = (engine: Call["engine"], driver: string) =>
  engine.swarm.standing().state === "inactive"
    ? "cannot create a swarm scoped network when swarm is not active" // moby libnetwork/controller.go
    : `a network of driver "${driver}" is one host's own: make it on each host, without --scope swarm, or one for all hosts with -d overlay`;

/** `POST /networks/create` */
export async function createNetwork({ engine, request, version, signal }: Call): Promise<Reply> {
  const body = await readBody(request, createBody);
  const spec = readCreateBody(body, version);
  if (!["", "local", "swarm", null, undefined].includes(body.Scope))
    throw invalid(`invalid network scope '${body.Scope}': it is 'local' or 'swarm'`);
  if (body.Scope === "swarm" && spec.driver !== "overlay") throw forbidden(whyNotOfSwarm(engine, spec.driver));
  // moby libnetwork/controller.go
  if (body.Scope === "local" && spec.driver === "overlay")
    throw forbidden("cannot downgrade network scope for overlay networks");
  const { id, warning } = await engine.networks.create(spec, signal);
  return json({ Id: id, Warning: warning }, 201);
}
