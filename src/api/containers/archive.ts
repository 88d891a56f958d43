import { invalid } from "../../lib/errors.ts";
import type { PathStat } from "../../runtime/runtime.ts";
import { type Call, empty, plain, type Reply, stream } from "../call.ts";
import { flag, param } from "../query.ts";

function pathOf({ query }: Call): string {
  const path = query.get("path") ?? "";
  if (path === "") throw invalid("bad parameter: path cannot be empty");
  return path;
}

const statHeader = ({ name, size, mode, mtime, linkTarget }: PathStat) => ({
  "X-Docker-Container-Path-Stat": Buffer.from(JSON.stringify({ name, size, mode, mtime, linkTarget })).toString(
    "base64",
  ),
});

/** `GET /containers/{name}/archive`: a tar of what is at `path`. */
export async function readArchive(call: Call): Promise<Reply> {
  const { stat, tar } = await call.engine.containers.readArchive(param(call, "name"), pathOf(call));
  return stream("application/x-tar", tar, statHeader(stat));
}

/** `HEAD /containers/{name}/archive`: what is at `path`. */
export async function statArchive(call: Call): Promise<Reply> {
  const { stat, tar } = await call.engine.containers.readArchive(param(call, "name"), pathOf(call));
  for await (const _ of tar) break; // lets go of the archive
  return plain("", { "Content-Type": "application/json", ...statHeader(stat) });
}

/** `PUT /containers/{name}/archive`: a tar is unpacked into the directory `path`. */
export async function writeArchive(call: Call): Promise<Reply> {
  const keep = flag(call.query, "noOverwriteDirNonDir");
  await call.engine.containers.writeArchive(param(call, "name"), pathOf(call), call.request, keep);
  return empty(200);
}
