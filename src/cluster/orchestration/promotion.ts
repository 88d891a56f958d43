import { hasEnded, type Task } from "../../model/service.ts";
import { type Case, liveIn, type SlotKey } from "./draft.ts";
import { patience } from "./draining.ts";
import { policyOf } from "./rolling.ts";
import { isLive, mayStillRun } from "./tasks.ts";

/** So long a task waits for the one before it, besides what that is given to stop (moby/swarmkit manager/orchestrator/restart). */
const overdue = 60_000; // milliseconds
const defaultGrace = 10; // seconds between SIGTERM and SIGKILL

/** Tells the task of a slot that is to be ready to run, when its delay is over and nobody else runs there. */
export function promote(one: Case, slot: SlotKey): void {
  const { draft, now, isJob } = one;
  for (const task of liveIn(one, slot)) {
    if (task.desired !== "ready" || hasEnded(task.status.state)) continue;
    const at = startOf(one, task, isJob ? draft.tasks.filter((other) => isBeside(task, other)) : draft.in(slot));
    if (at > now) draft.lookAgain(at);
    else draft.tell(task, isJob ? "complete" : "running");
  }
}

/** True when the other is in the same place, maybe in an earlier run of the job. */
const isBeside = (task: Task, other: Task) =>
  task.slot === other.slot && (task.slot !== 0 || task.nodeId === other.nodeId);

/** When the task may start, as far as is known. */
function startOf({ service, draft, nodeOf }: Case, task: Task, slot: readonly Task[]): number {
  const startsFirst = policyOf(service, draft.status).order === "start-first";
  const before = slot.filter(
    (other) =>
      other !== task &&
      mayStillRun(other, other.nodeId === undefined ? undefined : nodeOf(other.nodeId)) &&
      !(startsFirst && isLive(other)),
  );
  const delayed = task.startAfter ?? 0;
  if (before.length === 0) return delayed;
  const grace = Math.max(...before.map(({ template }) => template.container.stopTimeout ?? defaultGrace));
  return Math.max(delayed, task.createdAt + overdue + grace * 1000 + service.spec.drain + patience);
}
