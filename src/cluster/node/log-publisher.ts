import { createClient } from "@connectrpc/connect";
import { BoundedQueue } from "../../lib/bounded-queue.ts";
import type { TaskId } from "../../model/service.ts";
import { fromWire } from "../calls/call-errors.ts";
import type { Credentials } from "../calls/control-server.ts";
import { dial } from "../calls/dial.ts";
import type { ReadTaskLog, TaskLogOptions } from "../calls/task-logs.ts";
import { type LogsWanted, Node } from "../gen/control_pb.ts";

const most = 256 << 10; // bytes of lines that wait for the network

interface Said {
  readonly lines: {
    readonly taskId: TaskId;
    readonly stderr: boolean;
    readonly time: string;
    readonly data: Uint8Array;
  }[];
  readonly troubles: string[];
}

/**
 * Tells a manager what tasks of this node have said: over a connection of its own, which does not stand in the way of the
 * node's stream. It ends with the logs, or with the manager's reader.
 * @param address of the manager @throws {EngineError} unavailable when the connection breaks
 */
export async function publishLogs(
  wanted: LogsWanted,
  {
    address,
    credentials,
    read,
  }: { readonly address: string; readonly credentials: Credentials; readonly read: ReadTaskLog },
  signal: AbortSignal,
): Promise<void> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const { key, certificate, roots } = credentials;
  const link = await dial(address, { key, cert: certificate, ca: roots }, signal);
  try {
    await createClient(Node, link.transport).publishLogs(requests(wanted, read, either), { signal });
  } catch (error) {
    throw fromWire(error);
  } finally {
    ended.abort();
    link.close();
  }
}

/** The lines of all tasks as they come, those that are there together. */
async function* requests(wanted: LogsWanted, read: ReadTaskLog, signal: AbortSignal) {
  const { subscriptionId } = wanted;
  yield { subscriptionId, lines: [], troubles: [] };
  const queue = new BoundedQueue<Partial<Said>>(most);
  const stop = () => queue.end();
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  const reading = wanted.taskIds.map((task) => pump(task, optionsOf(wanted), read, queue, signal));
  void Promise.allSettled(reading).then(stop);
  try {
    for await (const batch of queue.batches())
      yield {
        subscriptionId,
        lines: batch.flatMap(({ lines = [] }) => lines),
        troubles: batch.flatMap(({ troubles = [] }) => troubles),
      };
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const optionsOf = ({ follow, stdout, stderr, since, tail }: LogsWanted): TaskLogOptions => ({
  follow,
  stdout,
  stderr,
  since: Number(since),
  ...(tail !== undefined && { tail: Number(tail) }),
});

async function pump(
  taskId: TaskId,
  options: TaskLogOptions,
  read: ReadTaskLog,
  queue: BoundedQueue<Partial<Said>>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { stream, time, data } of await read(taskId, options, signal)) {
      if (signal.aborted) return;
      await queue.push({ lines: [{ taskId, stderr: stream === "stderr", time, data }] }, data.length + time.length);
    }
  } catch (error) {
    if (!signal.aborted) await queue.push({ troubles: [`task ${taskId}: ${(error as Error).message}`] }, 0);
  }
}
