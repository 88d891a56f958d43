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
  const { stat, tar } = await call.engine.containers.readArchive(param(call, "name"), pathOf(call), call.signal);
  return stream("application/x-tar", tar, statHeader(stat));
}

/** `HEAD /containers/{name}/archive`: what is at `path`. */
export async function statArchive(call: Call): Promise<Reply> {
  const stat = await call.engine.containers.statPath(param(call, "name"), pathOf(call), call.signal);
  return plain("", { "Content-Type": "application/json", ...statHeader(stat) });
}

/** `PUT /containers/{name}/archive`: a tar is unpacked into the directory `path`. */
export async function writeArchive(call: Call): Promise<Reply> {
  const options = {
    noOverwriteDirNonDir: flag(call.query, "noOverwriteDirNonDir"),
    copyUidGid: flag(call.query, "copyUIDGID"),
  };
  const { containers } = call.engine;
  await containers.writeArchive(param(call, "name"), pathOf(call), call.request, options, call.signal);
  return empty(200);
}

/** `GET /containers/{name}/export`: a tar of the container's root. */
export async function exportContainer(call: Call): Promise<Reply> {
  return stream("application/octet-stream", await call.engine.containers.export(param(call, "name"), call.signal));
}
