import { hasEnded, type Task } from "../../model/service.ts";
import type { Draft, View } from "./draft.ts";
import { hasFailed, isLive, isPlaced, newest, orphanedAfter } from "./tasks.ts";

/** Takes for ended what a node that is gone, or down for long, was told to end: nobody will report it. */
export function orphan(draft: Draft, { nodeOf, now }: View): void {
  for (const task of draft.tasks) {
    if (isLive(task) || !isPlaced(task) || hasEnded(task.status.state) || task.nodeId === undefined) continue;
    const node = nodeOf(task.nodeId);
    const at = node === undefined ? now : node.status.state === "down" ? node.updatedAt + orphanedAfter : Infinity;
    if (at <= now) draft.orphan(task, now);
    else if (at < Infinity) draft.lookAgain(at);
  }
}

/** Deletes tasks that were given up, and those that were told to stop before they had a place. */
export function sweep(draft: Draft): void {
  for (const task of draft.tasks)
    if (task.desired === "remove" ? hasEnded(task.status.state) || !isPlaced(task) : !isLive(task) && !isPlaced(task))
      draft.delete(task);
}

/**
 * Deletes ended tasks of a slot that are more than are kept. What says how often the present one was started again stays, and
 * what says that the slot is not to be filled again.
 * @param tasks of the slot
 */
export function forget(draft: Draft, tasks: readonly Task[], limit: number): void {
  if (limit < 0 || tasks.length === 0) return;
  const last = newest(tasks);
  const { maxAttempts } = last.template.restart;
  const counts = (task: Task) => hasFailed(task) && task.templateVersion === last.templateVersion;
  const ended = tasks
    .filter((task) => task !== last && !isLive(task) && hasEnded(task.status.state))
    .toSorted((a, b) => b.createdAt - a.createdAt);
  const kept = new Set([
    ...ended.slice(0, tasks.some(isLive) ? limit : Math.max(limit - 1, 0)),
    ...(maxAttempts > 0 ? ended.filter(counts).slice(0, maxAttempts + 1) : []),
  ]);
  for (const task of ended) if (!kept.has(task)) draft.delete(task);
}
