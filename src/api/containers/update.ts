import { z } from "zod";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { param } from "../query.ts";
import { resources } from "./create-body.ts";
import { refuseHostConfig } from "./refusals.ts";
import { readLimits, readRestart } from "./resources.ts";

const updateBody = z.looseObject(resources);

/** `POST /containers/{name}/update`: what the client leaves empty stays as it is. */
export async function updateContainer(call: Call): Promise<Reply> {
  const body = await readBody(call.request, updateBody);
  refuseHostConfig(body);
  const limits = readLimits(body);
  const given = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== 0));
  const unlimited = typeof body.PidsLimit === "number" && body.PidsLimit < 0 ? { pidsLimit: 0 } : {};
  const restart = body.RestartPolicy?.Name ? { restart: readRestart(body.RestartPolicy) } : {};
  const warnings = await call.engine.containers.update(param(call, "name"), { ...given, ...unlimited, ...restart });
  return json({ Warnings: warnings });
}
