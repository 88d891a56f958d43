import type { TaskLine, TaskLogOptions, TaskLogs } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import { type Call, outputType, type Reply, stream } from "../call.ts";
import { fullTime } from "../containers/logs.ts";
import { flag, param, readTime } from "../query.ts";
import { frame } from "../streams.ts";

/** `GET /services/{id}/logs` */
export const streamServiceLogs = (call: Call): Reply => streamLogs(call, call.engine.services);

/** `GET /tasks/{id}/logs` */
export const streamTaskLogs = (call: Call): Reply => streamLogs(call, call.engine.tasks);

function streamLogs(
  call: Call,
  from: { logs(reference: string, options: TaskLogOptions, signal: AbortSignal): TaskLogs },
): Reply {
  const { query, signal } = call;
  const [stdout, stderr] = [flag(query, "stdout"), flag(query, "stderr")];
  if (!stdout && !stderr) throw invalid("Bad parameters: you must choose at least one stream");
  const tail = readTail(query.get("tail") ?? "");
  const options = {
    follow: flag(query, "follow"),
    stdout,
    stderr,
    since: Math.trunc(readTime(query, "since") ?? 0),
    ...(tail !== undefined && { tail }),
  };
  const { tty, lines } = from.logs(param(call, "id"), options, signal);
  const look = { tty, timestamps: flag(query, "timestamps"), details: flag(query, "details") };
  return stream(outputType(tty, call.version), logBytes(lines, look, signal));
}

/** Lines from the end of each task's log; undefined: all. @throws {EngineError} invalid, Docker's texts */
function readTail(text: string): number | undefined {
  if (text === "" || text === "all") return undefined;
  if (/^-\d+$/.test(text)) throw invalid("negative tail values not supported");
  if (!/^\+?\d{1,15}$/.test(text)) throw invalid('tail value must be a positive integer or "all"');
  return Number(text);
}

/** What could not be had is said at the end, in a stream of its own (moby daemon/server/httputils/logstream). */
async function* logBytes(
  lines: AsyncIterable<TaskLine>,
  { tty, timestamps, details }: { readonly tty: boolean; readonly timestamps: boolean; readonly details: boolean },
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const put = (kind: Parameters<typeof frame>[0], data: Uint8Array) => (tty ? data : frame(kind, data));
  try {
    for await (const line of lines) {
      const head = `${timestamps ? `${fullTime(line.time)} ` : ""}${details ? `${detailsOf(line)} ` : ""}`;
      yield put(line.stream, Buffer.concat([Buffer.from(head), line.data]));
    }
  } catch (error) {
    if (!signal.aborted) yield put("trouble", Buffer.from(`Error grabbing logs: ${(error as Error).message}\n\n`));
  }
}

/** By these the client finds whose line it is. */
const detailsOf = ({ nodeId, serviceId, taskId }: TaskLine): string =>
  Object.entries({ "node.id": nodeId, "service.id": serviceId, "task.id": taskId })
    .map(([key, id]) => `com.docker.swarm.${key}=${id}`)
    .join(",");
