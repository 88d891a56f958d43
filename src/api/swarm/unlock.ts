import { readBody } from "../body.ts";
import { type Call, empty, json, type Reply } from "../call.ts";
import { only, text } from "../schemas.ts";

const unlockBody = only({ UnlockKey: text });

/** `POST /swarm/unlock` */
export async function unlockSwarm({ engine, request }: Call): Promise<Reply> {
  const { UnlockKey } = await readBody(request, unlockBody);
  await engine.swarm.unlock(UnlockKey ?? "");
  return empty(200);
}

/** `GET /swarm/unlockkey` */
export const showUnlockKey = ({ engine }: Call): Reply => json({ UnlockKey: engine.swarm.unlockKey() });
