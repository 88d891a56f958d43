import { parseDetachKeys } from "../../lib/detach-keys.ts";
import type { LogLine } from "../../runtime/runtime.ts";
import { type Call, outputType, type Reply } from "../call.ts";
import { flag, param } from "../query.ts";
import { endedStreams, frame } from "../streams.ts";

/** `POST /containers/{name}/attach`: `logs=1` sends what was written before, `stream=1` what comes. */
export async function attachContainer(call: Call): Promise<Reply> {
  const { query, engine, signal } = call;
  const name = param(call, "name");
  const detachKeys = parseDetachKeys(query.get("detachKeys") ?? "");
  const { spec } = (await engine.containers.inspect(name)).container;
  const wanted = { stdout: flag(query, "stdout"), stderr: flag(query, "stderr") };
  const past = { follow: false, ...wanted, since: 0, until: 0 };
  const before = flag(query, "logs") ? (await engine.containers.logs(name, past, signal)).lines : undefined;
  const talk = {
    streams: flag(query, "stream") ? await engine.containers.attach(name) : endedStreams,
    tty: spec.tty,
    stdin: flag(query, "stdin") && flag(query, "stream") && spec.openStdin,
    ...wanted,
    closeStdin: spec.stdinOnce,
    detachKeys,
    ...(before && { before: bytes(before, spec.tty) }),
  };
  return { kind: "talk", type: outputType(spec.tty, call.version), talk };
}

async function* bytes(lines: AsyncIterable<LogLine>, tty: boolean): AsyncIterable<Uint8Array> {
  for await (const { stream, data } of lines) yield tty ? data : frame(stream, data);
}
