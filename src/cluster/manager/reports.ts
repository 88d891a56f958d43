import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import { fromJsonBytes } from "../../lib/json-bytes.ts";
import type { NodeId } from "../../model/cluster.ts";
import { compareStates, type TaskId, taskStates } from "../../model/service.ts";
import { type Store, StoreError } from "../../store/store.ts";
import type { Report } from "../gen/control_pb.ts";
import { observe, taskOf, type TaskReport } from "../orchestration/observe.ts";

export interface ReportsParts {
  readonly store: Store;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
  /** @returns what calls it off */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  readonly failed: (error: unknown) => void;
}

const retryAfter = 1000; // milliseconds
const longest = 2000; // characters of a text
const most = 100; // networks of a task, ports of a task

const text = z.string().transform((whole) => whole.slice(0, longest));
const number = z.int().min(0);
const port = z.object({
  name: z.string().max(longest),
  protocol: z.enum(["tcp", "udp", "sctp"]),
  target: number.max(65535),
  published: number.max(65535),
  mode: z.enum(["ingress", "host"]),
  address: z.string().max(45).exactOptional(),
});
/** Nodes say nothing of a task before it is theirs, and not that it is lost. */
const reported = taskStates.filter(
  (state) => compareStates(state, "assigned") > 0 && compareStates(state, "orphaned") < 0,
);
const body = z.object({
  status: z.object({
    state: z.enum(reported),
    at: z.number(),
    message: text,
    error: text,
    container: z.object({ id: z.string().max(64), pid: number, exitCode: z.int() }).exactOptional(),
    ports: z.array(port).max(most).exactOptional(),
  }),
  attachments: z
    .array(
      z.object({
        network: z.string().max(64),
        addresses: z.array(z.object({ address: z.string().max(45), prefix: number.max(128) })).max(2),
      }),
    )
    .max(most),
});

/** What another host says of a task goes into a row that every manager reads, so it is bounded. @throws {EngineError} invalid */
export function readReport(row: Uint8Array): TaskReport {
  const found = body.safeParse(jsonOf(row));
  if (!found.success) throw invalid(`a report of a task is malformed: ${z.prettifyError(found.error)}`);
  return found.data;
}
function jsonOf(row: Uint8Array): unknown {
  try {
    return fromJsonBytes(row);
  } catch {
    return undefined;
  }
}

/** True for what may go better next time. */
const isPassing = (error: unknown) => error instanceof StoreError && ["UNAVAILABLE", "WRITE"].includes(error.code);

/**
 * Writes what nodes report, the latest of each task; what can not be written now is tried again. A node has as much waiting here
 * as it has tasks, whatever it says.
 */
export class Reports {
  readonly #parts: ReportsParts;
  readonly #waiting = new Map<TaskId, { readonly node: NodeId; readonly said: TaskReport }>();

  constructor(parts: ReportsParts) {
    this.#parts = parts;
  }

  take(node: NodeId, { table, key: id, row }: Report): void {
    const { store, failed } = this.#parts;
    if (table !== "tasks") return; // a newer node's word
    try {
      if (taskOf(store.snapshot(), node, id) === undefined) return;
      const isWriting = this.#waiting.has(id);
      this.#waiting.set(id, { node, said: readReport(row) });
      if (!isWriting) void this.#write(id);
    } catch (error) {
      failed(error);
    }
  }

  async #write(id: TaskId): Promise<void> {
    const { store, now, after, failed } = this.#parts;
    for (let report = this.#waiting.get(id); report !== undefined; report = this.#waiting.get(id)) {
      const { node, said } = report;
      try {
        await store.update((tx) => observe(tx, node, id, said, now()));
      } catch (error) {
        failed(error);
        if (isPassing(error)) return void after(retryAfter, () => void this.#write(id));
      }
      if (this.#waiting.get(id) === report) this.#waiting.delete(id);
    }
  }
}
