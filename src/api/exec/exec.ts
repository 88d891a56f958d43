import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import { parseDetachKeys } from "../../lib/detach-keys.ts";
import type { ProcessStreams } from "../../runtime/runtime.ts";
import { readBody } from "../body.ts";
import { type Call, empty, json, outputType, type Reply } from "../call.ts";
import { messageOf } from "../errors.ts";
import { param, whole } from "../query.ts";
import { boolean, number, text, texts, words } from "../schemas.ts";
import { endedStreams, frame } from "../streams.ts";

const createBody = z.looseObject({
  User: text,
  Privileged: boolean,
  Tty: boolean,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  DetachKeys: text,
  Env: texts,
  WorkingDir: text,
  Cmd: words,
});
const startBody = z.looseObject({ Detach: boolean, Tty: boolean, ConsoleSize: z.array(number).nullish() });

/** `POST /containers/{name}/exec` */
export async function createExec(call: Call): Promise<Reply> {
  const body = await readBody(call.request, createBody);
  const args = body.Cmd ?? [];
  if (args.length === 0) throw invalid("No exec command specified");
  parseDetachKeys(body.DetachKeys ?? "");
  const id = await call.engine.execs.create(param(call, "name"), {
    args,
    env: body.Env ?? [],
    user: body.User ?? "",
    workingDir: body.WorkingDir ?? "",
    tty: body.Tty ?? false,
    stdin: body.AttachStdin ?? false,
    privileged: body.Privileged ?? false,
    detachKeys: body.DetachKeys ?? "",
    attach: { stdout: body.AttachStdout ?? false, stderr: body.AttachStderr ?? false },
  });
  return json({ Id: id }, 201);
}

/** `POST /exec/{id}/start`: why a process could not start is told inside the stream, as its exit code says the rest. */
export async function startExec(call: Call): Promise<Reply> {
  const id = param(call, "id");
  const body = await readBody(call.request, startBody);
  const { spec, detachKeys, attach } = call.engine.execs.inspect(id);
  const [height, width] = body.ConsoleSize ?? [];
  const size = height && width ? ([height, width] as const) : undefined;
  const options = { detach: body.Detach ?? false, ...(size && { size }) };
  let streams: ProcessStreams | undefined;
  let before: AsyncIterable<Uint8Array> | undefined;
  try {
    streams = await call.engine.execs.start(id, options);
  } catch (error) {
    if (options.detach || call.engine.execs.inspect(id).exitCode === undefined) throw error;
    before = reason(messageOf(error), spec.tty);
  }
  if (options.detach) return empty(200);
  const talk = {
    streams: streams ?? endedStreams,
    tty: spec.tty,
    stdin: spec.stdin,
    ...attach,
    closeStdin: true,
    detachKeys: parseDetachKeys(detachKeys),
    ...(before && { before }),
  };
  return { kind: "talk", type: outputType(spec.tty, call.version), talk };
}

async function* reason(message: string, tty: boolean): AsyncIterable<Uint8Array> {
  const data = Buffer.from(`${message}\r\n`);
  yield tty ? data : frame("stdout", data);
}

/** `POST /exec/{id}/resize` */
export async function resizeExec(call: Call): Promise<Reply> {
  await call.engine.execs.resize(param(call, "id"), whole(call.query, "w") ?? 0, whole(call.query, "h") ?? 0);
  return empty(200);
}

/** `GET /exec/{id}/json` */
export function inspectExec(call: Call): Reply {
  const { spec, running, exitCode, pid, detachKeys, attach } = call.engine.execs.inspect(param(call, "id"));
  const [entrypoint = "", ...args] = spec.args;
  return json({
    ID: spec.id,
    Running: running,
    ExitCode: exitCode ?? null,
    ProcessConfig: {
      tty: spec.tty,
      entrypoint,
      arguments: args,
      privileged: spec.privileged,
      ...(spec.user !== "" && { user: spec.user }),
    },
    OpenStdin: spec.stdin,
    OpenStderr: attach.stderr,
    OpenStdout: attach.stdout,
    CanRemove: !running && exitCode !== undefined,
    ContainerID: spec.containerId,
    DetachKeys: detachKeys === "" ? "" : Buffer.from(parseDetachKeys(detachKeys)).toString("base64"),
    Pid: pid,
  });
}
