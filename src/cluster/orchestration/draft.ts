import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import {
  compareStates,
  type Service,
  type Task,
  type TaskId,
  type TaskState,
  type UpdateStatus,
} from "../../model/service.ts";
import type { Edit } from "./edits.ts";
import { isLive, newest } from "./tasks.ts";

/** What a decision is made from. */
export interface View {
  /** All rows of the service, ended ones too. */
  readonly tasks: readonly Task[];
  /** @returns undefined when it was removed */
  readonly nodeOf: (id: NodeId) => ClusterNode | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** @returns an id that nobody has */
  readonly newId: () => TaskId;
  /** True when no node sends the task new connections any more. */
  readonly hasAcknowledged: (id: TaskId) => boolean;
}
export interface ServiceView extends View {
  readonly service: Service;
  /** All of them; asked for where a service has a task on each. */
  readonly nodes: () => readonly ClusterNode[];
  /** Ended tasks that are kept in each slot; negative: all. */
  readonly historyLimit: number;
}

/** Where one task at a time runs: a slot's number; of global services a node's id; of jobs with the run in front. */
export type SlotKey = string;
/** Of a global service that fits on no node. */
export const nowhere = "";

/** The slot that a task is in, or is to be in. */
export function slotOf({ slot, nodeId, jobIteration }: Pick<Task, "slot" | "nodeId" | "jobIteration">): SlotKey {
  const place = slot === 0 ? (nodeId ?? nowhere) : String(slot);
  return jobIteration === undefined ? place : `${jobIteration}/${place}`;
}

/** A service's tasks as they will be, and what is done for that. */
export class Draft {
  readonly edits: Edit[] = [];
  readonly #slots = new Map<SlotKey, Map<TaskId, Task>>();
  #again: number | undefined;
  #status: UpdateStatus | undefined;

  constructor(tasks: readonly Task[], status?: UpdateStatus) {
    for (const task of tasks) this.#set(task);
    this.#status = status;
  }

  /** How far the service's update is. */
  get status(): UpdateStatus | undefined {
    return this.#status;
  }
  setStatus(status: UpdateStatus): void {
    this.edits.push({ kind: "update", status });
    this.#status = status;
  }

  /** Milliseconds since 1970 at which to look again; undefined: when something changes. */
  get again(): number | undefined {
    return this.#again;
  }
  lookAgain(at: number): void {
    this.#again = Math.min(at, this.#again ?? at);
  }

  get slots(): SlotKey[] {
    return [...this.#slots.keys()];
  }
  /** The tasks of a slot as they are now, in no order. */
  in(slot: SlotKey): Task[] {
    return [...(this.#slots.get(slot)?.values() ?? [])];
  }
  get tasks(): Task[] {
    return [...this.#slots.values()].flatMap((tasks) => [...tasks.values()]);
  }

  /** A task that is younger than all in its slot. */
  create(task: Task): void {
    const others = this.in(slotOf(task));
    const createdAt = others.length === 0 ? task.createdAt : Math.max(task.createdAt, newest(others).createdAt + 1);
    const made = { ...task, createdAt };
    this.edits.push({ kind: "create", task: made });
    this.#set(made);
  }

  tell(task: Task, desired: TaskState): void {
    if (compareStates(desired, task.desired) <= 0) return;
    this.edits.push({ kind: "tell", id: task.id, desired });
    this.#set({ ...task, desired });
  }

  /** Nobody connects any more to a task that is drained. */
  acknowledge(task: Task, since: number): void {
    if (task.acknowledgedAt !== undefined) return;
    this.edits.push({ kind: "acknowledge", id: task.id });
    this.#set({ ...task, acknowledgedAt: since });
  }

  /** What runs, and takes connections, is drained first, unless `drains` is false. */
  stop(task: Task, desired: "shutdown" | "remove", { drains = true, now }: { drains?: boolean; now: number }): void {
    if (compareStates(desired, task.desired) <= 0 || (drains && task.drainsTo === desired)) return;
    // A task that is given up stays so.
    if (drains && task.drainsTo === "remove") return;
    this.edits.push({ kind: "stop", id: task.id, desired, drains });
    const isDrained = drains && task.status.state === "running";
    this.#set(
      isDrained ? { ...task, drainingSince: task.drainingSince ?? now, drainsTo: desired } : { ...task, desired },
    );
  }

  orphan(task: Task, now: number): void {
    this.edits.push({ kind: "orphan", id: task.id });
    this.#set({ ...task, status: { ...task.status, state: "orphaned", at: now } });
  }

  delete(task: Task): void {
    this.edits.push({ kind: "delete", id: task.id });
    const slot = this.#slots.get(slotOf(task));
    slot?.delete(task.id);
    if (slot?.size === 0) this.#slots.delete(slotOf(task));
  }

  #set(task: Task): void {
    const key = slotOf(task);
    const slot = this.#slots.get(key) ?? new Map<TaskId, Task>();
    slot.set(task.id, task);
    this.#slots.set(key, slot);
  }
}

/** A service's rows, and what is made of them. */
export interface Case extends ServiceView {
  readonly draft: Draft;
  readonly isJob: boolean;
  /** True for a node that tasks may be on, as far as constraints and platforms go. */
  readonly fits: (node: ClusterNode) => boolean;
  /** True for a task that an update replaces. */
  readonly isOutdated: (task: Task) => boolean;
}

/** The tasks of a slot that are to go on. */
export const liveIn = ({ draft }: Pick<Case, "draft">, slot: SlotKey): Task[] => draft.in(slot).filter(isLive);
