import { hasEnded, type Task } from "../../model/service.ts";
import { type Case, liveIn, type SlotKey, slotOf } from "./draft.ts";
import { startTask } from "./new-task.ts";
import { isUnderWay } from "./rolling.ts";
import { hasFailed, isLost } from "./tasks.ts";

/**
 * True when a task that is over may be followed by another one in its slot (moby/swarmkit manager/orchestrator/restart).
 * Only ends of its own count as attempts, and only of tasks from the same template.
 * @param slot all tasks of it
 */
export function mayFollow(task: Task, slot: readonly Task[]): boolean {
  const { condition, maxAttempts, window } = task.template.restart;
  const isJob = task.jobIteration !== undefined;
  if (condition === "none") return false;
  if (task.status.state === "complete" && (condition === "on-failure" || isJob)) return false;
  if (maxAttempts === 0) return true;
  const since = window === 0 ? -Infinity : task.status.at - window;
  const failures = slot.filter(
    (one) => one.templateVersion === task.templateVersion && hasFailed(one) && one.status.at > since,
  );
  return failures.length <= maxAttempts;
}

/** Tells tasks of a slot that are over, or whose node is, to stop, and starts what follows them. */
export function followEnded(one: Case, slot: SlotKey, mayStart: boolean): void {
  for (const task of liveIn(one, slot)) {
    const why = whyOver(one, task);
    if (why === undefined) continue;
    // One that did not even wait its delay is not followed sooner for that.
    const { startAfter = 0 } = task;
    if (why === "ended" && startAfter > one.now) one.draft.lookAgain(startAfter);
    else {
      one.draft.stop(task, "shutdown", { drains: why === "drained", now: one.now });
      if (mayStart && isNeeded(one, task) && mayFollow(task, one.draft.in(slot))) follow(one, task, why);
    }
  }
}

type Why = "ended" | "lost" | "drained";

function whyOver({ nodeOf, isJob }: Case, task: Task): Why | undefined {
  if (isJob && task.status.state === "complete") return undefined;
  if (hasEnded(task.status.state)) return "ended";
  if (task.nodeId === undefined) return undefined;
  const node = nodeOf(task.nodeId);
  if (isLost(node)) return "lost";
  return node?.availability === "drain" ? "drained" : undefined;
}

/** False where another task of the slot takes over already: an update was at work. */
function isNeeded(one: Case, task: Task): boolean {
  const others = liveIn(one, slotOf(task));
  return !others.some((other) => !one.isOutdated(other)) && (others.length === 0 || !one.isOutdated(task));
}

/** What comes after an outdated task is the update's: it does not wait, and its failure counts. */
function follow(one: Case, task: Task, why: Why): void {
  const { delay } = task.template.restart;
  if (isUnderWay(one.draft.status) && one.isOutdated(task)) startTask(one, task, { isReplacement: true });
  else startTask(one, task, why !== "drained" && delay > 0 ? { startAfter: one.now + delay } : {});
}
