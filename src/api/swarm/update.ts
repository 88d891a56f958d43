import { readBody } from "../body.ts";
import { type Call, empty, type Reply } from "../call.ts";
import { objectVersion, strictFlag } from "../query.ts";
import { readSpec, specBody } from "./spec.ts";

/** `POST /swarm/update`: the whole spec; what is left out gets Docker's default. */
export async function updateSwarm({ engine, request, query }: Call): Promise<Reply> {
  const body = await readBody(request, specBody);
  const version = objectVersion(query, "swarm");
  const rotate = {
    worker: strictFlag(query, "rotateWorkerToken"),
    manager: strictFlag(query, "rotateManagerToken"),
    unlockKey: strictFlag(query, "rotateManagerUnlockKey"),
  };
  await engine.swarm.update({ ...readSpec(body), version, rotate });
  return empty(200);
}
