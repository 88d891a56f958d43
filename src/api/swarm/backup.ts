import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { anything, only } from "../schemas.ts";
import { addressingFields, readAddressing } from "./addressing.ts";

const restoreBody = only({ ...addressingFields, Backup: anything });
const largest = 256 << 20; // bytes

/** `GET /tombolo/swarm/backup`: what the cluster has, its keys too; Docker has no word for it. */
export const backUpSwarm = ({ engine }: Call): Reply => json(engine.swarm.backup());

/** `POST /tombolo/swarm/restore`: begins it again on this node. Answers as `POST /swarm/init`. */
export async function restoreSwarm({ engine, request }: Call): Promise<Reply> {
  const body = await readBody(request, restoreBody, largest);
  return json(await engine.swarm.restore(body.Backup, readAddressing(body)));
}
