import type { MessageInitShape } from "@bufbuild/protobuf";
import { setTimeout as sleep } from "node:timers/promises";
import { toJsonBytes } from "../../lib/json-bytes.ts";
import type { Task, TaskId } from "../../model/service.ts";
import type { DescriptionSchema, SessionRequestSchema } from "../gen/control_pb.ts";

type Up = MessageInitShape<typeof SessionRequestSchema>;
type Description = MessageInitShape<typeof DescriptionSchema>;

/** What a node has to say over one stream: of each task how it is now, up to where its kernel is, what it is, and that it is there. */
export class NodeMessages {
  readonly #tasks = new Map<TaskId, Task>();
  #applied: bigint | undefined;
  #description: Description | undefined;
  #period = 5000; // milliseconds between two beats
  #beatAt = 0;
  #wake = () => {};
  readonly #beforeBeat: () => void;

  /** @param beforeBeat called before each beat: what it adds goes first */
  constructor(beforeBeat: () => void) {
    this.#beforeBeat = beforeBeat;
  }

  /** Of what was not said yet, the latest is. */
  task(task: Task): void {
    this.#tasks.set(task.id, task);
    this.#wake();
  }

  applied(revision: bigint): void {
    this.#applied = revision;
    this.#wake();
  }

  /** It is another one than was said before. */
  description(description: Description): void {
    this.#description = description;
    this.#wake();
  }

  /** A shorter period begins now. @param period milliseconds */
  beatEvery(period: number): void {
    this.#period = period;
    this.#beatAt = 0;
    this.#wake();
  }

  /** All of it, after `first`, until the signal. */
  async *from(first: Up, signal: AbortSignal): AsyncIterable<Up> {
    yield first;
    this.#beatAt = Date.now() + this.#period;
    while (!signal.aborted) {
      const messages = [...this.#take()];
      yield* messages;
      if (messages.length > 0) continue;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, sleep(this.#beatAt - Date.now(), undefined, { signal, ref: false }).catch(() => {})]);
    }
  }

  *#take(): Iterable<Up> {
    const isDue = Date.now() >= this.#beatAt;
    if (isDue) this.#beforeBeat();
    const tasks = [...this.#tasks.values()];
    const [revision, description] = [this.#applied, this.#description];
    this.#tasks.clear();
    this.#applied = undefined;
    this.#description = undefined;
    if (description !== undefined) yield { body: { case: "description", value: description } };
    for (const { id, status, attachments } of tasks)
      yield { body: { case: "report", value: { table: "tasks", key: id, row: toJsonBytes({ status, attachments }) } } };
    if (revision !== undefined) yield { body: { case: "applied", value: { revision } } };
    if (!isDue) return;
    this.#beatAt = Date.now() + this.#period;
    yield { body: { case: "beat", value: {} } };
  }
}
