import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../../lib/errors.ts";
import type { Service, ServiceId, TaskId } from "../../model/service.ts";
import type { Store } from "../../store/store.ts";
import { carryOut, type Decision, type Edit } from "./edits.ts";
import { Orchestration } from "./orchestration.ts";

export interface ConductorParts {
  /** Every write is fenced by the leader's election; it has all that former leaders have written. */
  readonly store: Store;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
  /** @returns what calls it off */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  readonly newId: () => TaskId;
}

/** Rows of one transaction: etcd takes 8 MiB. */
const mostBytes = 4 << 20;
const long = 20; // milliseconds
const plain = 1024; // bytes of a task's row besides its template
const unknown = 16 << 10; // of a template that is not known any more

/** Does what the orchestration decides: when something has changed, and when it is time. */
export class Conductor {
  readonly #parts: ConductorParts;
  readonly #orchestration: Orchestration;
  readonly #timers = new Map<ServiceId, () => void>();
  #wake = () => {};

  constructor(parts: ConductorParts) {
    this.#parts = parts;
    this.#orchestration = new Orchestration(parts.newId);
  }

  /** Until the signal. @throws what the store does: then nothing more is decided from what may be out of date */
  async run(signal: AbortSignal): Promise<void> {
    const end = new AbortController();
    const either = AbortSignal.any([signal, end.signal]);
    either.addEventListener("abort", () => this.#wake());
    const parts = [this.#follow(either), this.#work(either)];
    try {
      await Promise.race(parts);
    } finally {
      end.abort();
      await Promise.allSettled(parts);
      for (const cancel of this.#timers.values()) cancel();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const commit of this.#parts.store.watch(signal)) {
      this.#orchestration.note(commit);
      this.#wake();
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted)
      if (this.#orchestration.isDue) await this.#step();
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
  }

  async #step(): Promise<void> {
    const began = performance.now();
    const decisions = this.#orchestration.decide(this.#parts.now());
    const took = performance.now() - began;
    for (const { serviceId, again } of decisions) if (again !== undefined) this.#lookAt(serviceId, again);
    await Promise.all(decisions.flatMap(chunks).map((decision) => this.#carryOut(decision)));
    // What was written was told to whoever watches before that was answered: a turn later it is noted. Who has thought for
    // long, as of a service with many thousands of tasks, lets others think as long; what comes meanwhile is one change.
    await (took < long ? turn() : sleep(took));
  }

  #lookAt(service: ServiceId, at: number): void {
    this.#timers.get(service)?.();
    const cancel = this.#parts.after(Math.max(at - this.#parts.now(), 0), () => {
      this.#timers.delete(service);
      this.#orchestration.look(service);
      this.#wake();
    });
    this.#timers.set(service, cancel);
  }

  async #carryOut(decision: Decision): Promise<void> {
    const { store, now } = this.#parts;
    try {
      const { result: isDone } = await store.update((tx) => carryOut(tx, decision, now()));
      if (!isDone) this.#orchestration.drop(decision);
    } catch (error) {
      const isRollback = decision.edits.some(({ kind }) => kind === "rollback");
      if (!isRollback || !(error instanceof EngineError)) throw error;
      await this.#carryOut({ ...decision, edits: pausedBy(error, decision.service, now()) });
    }
  }
}

/** The way back is blocked: somebody else has what the service had. */
function pausedBy({ message }: Error, service: Service | undefined, now: number): Edit[] {
  const { startedAt = now } = service?.update ?? {};
  const why = `update paused: it can not be rolled back: ${message}`;
  return [{ kind: "update", status: { state: "paused", startedAt, message: why } }];
}

const isOfService = ({ kind }: Edit) => kind === "update" || kind === "rollback";
const taskOf = (edit: Edit) => (edit.kind === "create" ? edit.task.id : "id" in edit ? edit.id : "");

/** A decision in parts that each fit into a transaction. What is done to one task goes together; the service's row is last. */
export function chunks(decision: Decision): Decision[] {
  const { service, edits } = decision;
  if (edits.length === 0) return [];
  const size = plain + (service === undefined ? unknown : JSON.stringify(service.spec.task).length);
  const most = Math.max(1, Math.floor(mostBytes / size));
  if (edits.length <= most) return [decision];
  const byTask = [
    ...Map.groupBy(
      edits.filter((edit) => !isOfService(edit)),
      taskOf,
    ).values(),
  ];
  const parts = Array.from({ length: Math.ceil(byTask.length / most) }, (_, n) =>
    byTask.slice(n * most, (n + 1) * most).flat(),
  );
  parts.at(-1)?.push(...edits.filter(isOfService));
  return parts.map((some) => ({ ...decision, edits: some }));
}
