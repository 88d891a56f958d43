import { compareStates, hasEnded, type Task, type TaskId } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
import type { Case } from "./draft.ts";
import { isLost } from "./tasks.ts";

/** So long it is waited for all to acknowledge that a task gets no new connections. */
export const patience = 10_000; // milliseconds

/** True for a task that is being drained, and not told to stop yet. */
export const isDraining = ({ drainingSince, desired }: Task) =>
  drainingSince !== undefined && compareStates(desired, "complete") <= 0;

/** Tells tasks to stop that are drained. */
export function finishDrains({ draft, service, nodeOf, hasAcknowledged, now }: Case): void {
  for (const task of draft.tasks.filter(isDraining)) {
    const { drainingSince = now, drainsTo = "shutdown", status, nodeId = "" } = task;
    const since = task.acknowledgedAt ?? (hasAcknowledged(task.id) ? now : Infinity);
    const end = Math.min(since, drainingSince + patience) + service.spec.drain;
    if (end <= now || hasEnded(status.state) || isLost(nodeOf(nodeId))) {
      draft.tell(task, drainsTo);
      continue;
    }
    if (since < Infinity) draft.acknowledge(task, since);
    draft.lookAgain(end);
  }
}

/**
 * True when no node sends a task new connections any more: all managers at work say so of the nodes whose streams they have,
 * and no node that may be at work is without one.
 */
export function hasAcknowledged(rows: Snapshot, task: TaskId): boolean {
  const managers = rows.where("nodes", "hasVote", "true").filter(({ status }) => status.state === "ready");
  const atWork = new Set(managers.map(({ id }) => id));
  return (
    managers.every(({ id }) => rows.get("acknowledgements", id)?.tasks.includes(task)) &&
    rows.list("nodes").every(({ status }) => status.state !== "ready" || atWork.has(status.holder ?? ""))
  );
}
