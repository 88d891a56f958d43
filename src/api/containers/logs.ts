import { invalid } from "../../lib/errors.ts";
import type { LogLine } from "../../runtime/runtime.ts";
import { type Call, outputType, type Reply, stream } from "../call.ts";
import { flag, param, readTime } from "../query.ts";
import { frame } from "../streams.ts";

/** `GET /containers/{name}/logs` */
export async function streamLogs(call: Call): Promise<Reply> {
  const { query } = call;
  const stdout = flag(query, "stdout");
  const stderr = flag(query, "stderr");
  if (!stdout && !stderr) throw invalid("Bad parameters: you must choose at least one stream");
  const tail = query.get("tail") ?? "";
  const { tty, lines } = await call.engine.containers.logs(
    param(call, "name"),
    {
      follow: flag(query, "follow"),
      stdout,
      stderr,
      since: readTime(query, "since") ?? 0,
      until: readTime(query, "until") ?? 0,
      ...(/^\d+$/.test(tail) && { tail: Number(tail) }),
    },
    call.signal,
  );
  const look = { tty, timestamps: flag(query, "timestamps"), details: flag(query, "details") };
  return stream(outputType(tty, call.version), logBytes(lines, look));
}

async function* logBytes(
  lines: AsyncIterable<LogLine>,
  look: { readonly tty: boolean; readonly timestamps: boolean; readonly details: boolean },
): AsyncIterable<Uint8Array> {
  for await (const line of lines) {
    const head = `${look.timestamps ? `${fullTime(line.time)} ` : ""}${look.details ? " " : ""}`;
    const data = head === "" ? line.data : Buffer.concat([Buffer.from(head), line.data]);
    yield look.tty ? data : frame(line.stream, data);
  }
}

/** RFC 3339 with all nine digits of the nanoseconds, so that lines stand in columns. */
export const fullTime = (time: string) =>
  time.replace(/(?:\.(\d+))?Z$/, (_, digits = "") => `.${digits.padEnd(9, "0")}Z`);
