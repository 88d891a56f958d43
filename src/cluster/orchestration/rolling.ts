import type { Service, Task, UpdatePolicy, UpdateStatus } from "../../model/service.ts";
import { type Case, liveIn, type SlotKey } from "./draft.ts";
import { startTask } from "./new-task.ts";
import { hasFailed, isLive, newest } from "./tasks.ts";

// How an update goes on is in the tasks' rows: which template each is from, which of them the update has made, and when these
// began to run. Messages are Docker's (moby/swarmkit manager/orchestrator/update).

const isRollback = (status: UpdateStatus | undefined) =>
  status?.state.startsWith("rollback") === true && status.state !== "rollback_completed";
/** The rules that an update in that state goes by. */
export const policyOf = ({ spec }: Service, status: UpdateStatus | undefined): UpdatePolicy =>
  isRollback(status) ? spec.rollback : spec.update;

/** True while tasks are being replaced; a paused update is not. */
export const isUnderWay = (status: UpdateStatus | undefined): status is UpdateStatus =>
  status?.state === "updating" || status?.state === "rollback_started";
const isPaused = (status: UpdateStatus | undefined) =>
  status?.state === "paused" || status?.state === "rollback_paused";

/** What an update to the present template has put in the place of others. */
const madeBy = ({ service }: Case, tasks: readonly Task[]): Task[] =>
  tasks.filter(
    ({ isReplacement, templateVersion }) => isReplacement === true && templateVersion === service.templateVersion,
  );

/**
 * Counts the update's failures, and does what is to be done when they are too many.
 * @param slots that the service is to have
 * @returns why the service is to be rolled back, if it is: then nothing else is to be done with the present spec
 */
export function judge(one: Case, slots: readonly SlotKey[]): string | undefined {
  const { draft, service } = one;
  const { status } = draft;
  if (!isUnderWay(status)) return undefined;
  const { failureAction, maxFailureRatio, monitor } = policyOf(service, status);
  if (failureAction === "continue") return undefined;
  const { failed: known = [], startedAt } = status;
  const isNew = (task: Task) => task.createdAt >= startedAt && isEarly(task, monitor) && !known.includes(task.id);
  const more = slots.flatMap((slot) => madeBy(one, draft.in(slot)).filter(isNew)).map(({ id }) => id);
  const last = more.at(-1);
  if (last === undefined) return undefined;
  const failed = [...known, ...more];
  if (failed.length / slots.length <= maxFailureRatio) draft.setStatus({ ...status, failed });
  else if (status.state === "updating" && failureAction === "rollback" && service.previous !== undefined)
    return `update rolled back due to ${failure(last)}`;
  else draft.setStatus({ ...status, ...paused(status, failureAction, last), failed });
  return undefined;
}

const isEarly = (task: Task, monitor: number) =>
  hasFailed(task) && (task.runningSince === undefined || task.status.at - task.runningSince <= monitor);
const failure = (task: string) => `failure or early termination of task ${task}`;

function paused({ state }: UpdateStatus, action: UpdatePolicy["failureAction"], task: string) {
  const isBack = state === "rollback_started";
  const what = isBack && action === "rollback" ? "rollback" : "update";
  return { state: isBack ? "rollback_paused" : "paused", message: `${what} paused due to ${failure(task)}` } as const;
}

/** Begins an update when there is something to replace. @param slots where tasks may be started */
export function begin(one: Case, slots: readonly SlotKey[]): void {
  const { draft, now } = one;
  if (isUnderWay(draft.status) || isPaused(draft.status) || !slots.some((slot) => isOutdatedSlot(one, slot))) return;
  draft.setStatus({ state: "updating", startedAt: now, message: "update in progress" });
}

/**
 * Goes on with an update: replaces so many outdated tasks as its policy allows.
 * @param slots where tasks may be started
 */
export function roll(one: Case, slots: readonly SlotKey[]): void {
  const { draft, service, now } = one;
  for (const slot of slots) handOver(one, slot);
  if (!isUnderWay(draft.status)) return;
  const outdated = slots.filter((slot) => isOutdatedSlot(one, slot));
  const { parallelism, delay, order } = policyOf(service, draft.status);
  const ends = slots.map((slot) => endOf(one, slot) + delay).filter((end) => end > now);
  for (const end of ends) if (end < Infinity) draft.lookAgain(end);
  const atOnce = parallelism === 0 ? Infinity : parallelism - ends.length;
  for (const slot of outdated.toSorted((a, b) => runningIn(one, a) - runningIn(one, b)).slice(0, Math.max(atOnce, 0)))
    replace(one, slot, order);
  if (outdated.length === 0) complete(one, slots);
}

/** Tasks that run; where none does, nothing is lost when they are replaced. */
const runningIn = (one: Case, slot: SlotKey) => (liveIn(one, slot).some(isRunning) ? 1 : 0);

function isOutdatedSlot(one: Case, slot: SlotKey): boolean {
  const live = liveIn(one, slot);
  return live.length > 0 ? live.every(one.isOutdated) : one.isOutdated(newest(one.draft.in(slot)));
}

/**
 * Where a task of the present template has come, the one before it goes: at once, or when the new one runs. Two of that
 * template are there when one was outdated and is not any more: the rules of where tasks are placed have changed twice.
 */
function handOver(one: Case, slot: SlotKey): void {
  const { draft, service, now } = one;
  const live = liveIn(one, slot);
  const fresh = live.filter((task) => !one.isOutdated(task));
  if (fresh.length === 0) return;
  const running = fresh.filter(isRunning);
  const keeps = newest(running.length > 0 ? running : fresh);
  const startsFirst = policyOf(service, draft.status).order === "start-first";
  for (const task of startsFirst && !isRunning(keeps) ? fresh : live)
    if (task !== keeps) draft.stop(task, "shutdown", { now });
}

const isRunning = ({ status }: Task) => status.state === "running";

function replace(one: Case, slot: SlotKey, order: UpdatePolicy["order"]): void {
  const { draft, now } = one;
  const tasks = draft.in(slot);
  const live = tasks.filter(isLive);
  // With start-first the one that runs goes on; one that an earlier update was about to start has no use.
  const running = live.filter(isRunning);
  const goesOn = order === "start-first" && running.length > 0 ? newest(running) : undefined;
  for (const task of live) if (task !== goesOn) draft.stop(task, "shutdown", { now });
  startTask(one, newest(tasks), { isReplacement: true });
}

/** When the update's task of a slot began to run, or failed to; Infinity: not yet; without one: long ago. */
function endOf(one: Case, slot: SlotKey): number {
  const made = madeBy(one, one.draft.in(slot));
  if (made.length === 0) return -Infinity;
  const task = newest(made);
  if (hasFailed(task)) return task.status.at;
  return task.runningSince ?? (isLive(task) ? Infinity : -Infinity);
}

/** The update is done when nothing has failed for long enough after its last replacement. */
function complete(one: Case, slots: readonly SlotKey[]): void {
  const { draft, service, now } = one;
  const { status } = draft;
  if (!isUnderWay(status)) return;
  const { delay, monitor } = policyOf(service, status);
  const end =
    Math.max(...slots.map((slot) => endOf(one, slot)), -Infinity) + (delay >= monitor ? delay + 1000 : monitor);
  if (end > now) return end < Infinity ? draft.lookAgain(end) : undefined;
  const isBack = status.state === "rollback_started";
  draft.setStatus({
    ...status,
    state: isBack ? "rollback_completed" : "completed",
    completedAt: now,
    message: isBack ? "rollback completed" : "update completed",
  });
}
