import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { only } from "../schemas.ts";
import { duration, milliseconds } from "./duration.ts";

const keysBody = only({ Every: duration });

/**
 * `POST /tombolo/swarm/rotate-keys`: other keys of WireGuard for all nodes now, or, with `Every`, in nanoseconds, from then on
 * by themselves; Docker has no word for it.
 */
export async function rotateKeys({ engine, request }: Call): Promise<Reply> {
  const { Every } = await readBody(request, keysBody);
  if (Every !== null && Every !== undefined) {
    await engine.swarm.rotateKeysEvery(milliseconds("Every", Every));
    return json({});
  }
  const { nodes, away } = await engine.swarm.rotateKeys();
  return json({ Nodes: nodes, Away: away });
}
