import { isDeepStrictEqual } from "node:util";
import type { NodeId } from "../../model/cluster.ts";
import { observed } from "../../model/cluster.ts";
import {
  type Backend,
  compareStates,
  type Service,
  type ServiceId,
  type Task,
  type TaskId,
  type TaskState,
  type UpdateStatus,
} from "../../model/service.ts";
import type { Transaction } from "../../store/store.ts";
import { keys } from "../../store/tables.ts";
import { rollBackService } from "../services.ts";
import { placed } from "./scheduler.ts";

/** What the leader does to a row. It writes its own fields only: what a node has reported meanwhile stays. */
export type Edit =
  | { readonly kind: "create"; readonly task: Task }
  /** What a task is told, further to the right. */
  | { readonly kind: "tell"; readonly id: TaskId; readonly desired: TaskState }
  /** It is told to stop; first it is drained, where it takes connections and `drains` says so. */
  | { readonly kind: "stop"; readonly id: TaskId; readonly desired: "shutdown" | "remove"; readonly drains: boolean }
  /** Every node has acknowledged that it is drained. */
  | { readonly kind: "acknowledge"; readonly id: TaskId }
  | { readonly kind: "place"; readonly id: TaskId; readonly nodeId: NodeId; readonly message: string }
  /** Why it has no place yet. */
  | { readonly kind: "explain"; readonly id: TaskId; readonly error: string }
  /** Nobody will ever report its end. */
  | { readonly kind: "orphan"; readonly id: TaskId }
  | { readonly kind: "delete"; readonly id: TaskId }
  | { readonly kind: "update"; readonly status: UpdateStatus }
  | { readonly kind: "rollback"; readonly message: string };

/** What was decided for a service from its rows. */
export interface Decision {
  readonly serviceId: ServiceId;
  /** The row that it was decided from; undefined when the service is gone. */
  readonly service: Service | undefined;
  readonly edits: readonly Edit[];
  /** Milliseconds since 1970: look again then, if nothing has changed before. */
  readonly again?: number;
}

/**
 * @param now milliseconds since 1970
 * @returns false, with nothing done, when the service is another one than that for which it was decided
 * @throws {EngineError} when a service can not be rolled back: what it had is another's
 */
export function carryOut(tx: Transaction, { serviceId, service, edits }: Decision, now: number): boolean {
  if (!isDeepStrictEqual(tx.get("services", serviceId), service)) return false;
  for (const edit of edits)
    if (edit.kind === "create") tx.insert("tasks", edit.task);
    else if (edit.kind !== "update" && edit.kind !== "rollback") editTask(tx, edit, now);
    else if (service !== undefined) editService(tx, service, edit, now);
  return true;
}

type ServiceEdit = Extract<Edit, { readonly kind: "update" | "rollback" }>;

function editService(tx: Transaction, service: Service, edit: ServiceEdit, now: number): void {
  if (edit.kind === "update") tx.put("services", observed(service, { update: edit.status }, now));
  else rollBackService(tx, service, { message: edit.message }, now);
}

type TaskEdit = Exclude<Edit, ServiceEdit | { readonly kind: "create" }>;

function editTask(tx: Transaction, edit: TaskEdit, now: number): void {
  const task = tx.get("tasks", edit.id);
  if (task === undefined) return;
  const put = (what: Partial<Task>) => tx.put("tasks", observed(task, what, now));
  switch (edit.kind) {
    case "tell":
      if (compareStates(edit.desired, task.desired) > 0) put({ desired: edit.desired });
      break;
    case "stop":
      stop(tx, task, edit, now);
      break;
    case "acknowledge":
      put({ acknowledgedAt: now });
      break;
    case "place":
      if (task.status.state === "pending") tx.put("tasks", placed(task, edit.nodeId, now, edit.message));
      break;
    case "explain":
      if (task.status.state === "pending") put({ status: { ...task.status, at: now, error: edit.error } });
      break;
    case "orphan":
      removeBackends(tx, task);
      put({ status: { ...task.status, state: "orphaned", at: now, message: "its node is gone" } });
      break;
    case "delete":
      removeBackends(tx, task);
      tx.delete("tasks", task.id);
      break;
  }
}

function stop(tx: Transaction, task: Task, { desired, drains }: Extract<Edit, { kind: "stop" }>, now: number): void {
  if (compareStates(desired, task.desired) <= 0) return;
  const hadSome = takeOut(tx, task);
  if (drains && task.drainingSince === undefined && hadSome)
    tx.put("tasks", observed(task, { drainingSince: now, drainsTo: desired }, now));
  else if (drains && task.drainingSince !== undefined) tx.put("tasks", observed(task, { drainsTo: desired }, now));
  else tx.put("tasks", observed(task, { desired }, now));
}

/** The keys of the rows by which a task takes connections, whether they are there or not. */
export const backendKeys = ({ id: taskId, attachments }: Task): string[] =>
  attachments.map(({ network: networkId }) => keys.backends({ taskId, networkId } as Backend));

const backendsOf = (tx: Transaction, task: Task) => backendKeys(task).flatMap((key) => tx.get("backends", key) ?? []);

/** @returns true when there were some */
function removeBackends(tx: Transaction, task: Task): boolean {
  const own = backendsOf(tx, task);
  for (const backend of own) tx.delete("backends", keys.backends(backend));
  return own.length > 0;
}

/** It gets no new connections any more. @returns true when it may have some that go on: where its node is down, nobody answers them */
function takeOut(tx: Transaction, task: Task): boolean {
  if (tx.get("nodes", task.nodeId ?? "")?.status.state !== "down") return removeBackends(tx, task);
  for (const backend of backendsOf(tx, task)) tx.put("backends", { ...backend, isLost: true });
  return false;
}
