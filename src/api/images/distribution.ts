import { system } from "../../lib/errors.ts";
import { type Call, json, type Reply } from "../call.ts";
import { param } from "../query.ts";
import { readAuthHeader } from "./wire.ts";

/** `GET /distribution/{name}/json`: what a registry has under a name, as services are pinned to it. */
export async function inspectDistribution(call: Call): Promise<Reply> {
  const name = param(call, "name");
  if (/^(sha256:)?[0-9a-f]{64}$/.test(name)) throw system("no manifest found for full image ID");
  const auth = readAuthHeader(call.request.headers["x-registry-auth"]);
  const { mediaType, digest, size, platforms } = await call.engine.images.distribution(name, auth, call.signal);
  return json({
    Descriptor: { mediaType, digest, size },
    Platforms: platforms.map(({ os, architecture, variant }) => ({ architecture, os, ...(variant && { variant }) })),
  });
}
