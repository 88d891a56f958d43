import { isDeepStrictEqual } from "node:util";
import type { ClusterNode } from "../../model/cluster.ts";
import type { Service, ServiceId, Task } from "../../model/service.ts";
import { constraintsOf, satisfies } from "./constraints.ts";
import { type Case, Draft, type ServiceView, type View } from "./draft.ts";
import { finishDrains } from "./draining.ts";
import type { Decision } from "./edits.ts";
import { hasPlatform } from "./filters.ts";
import { forget, orphan, sweep } from "./history.ts";
import { modes, type Slots } from "./modes.ts";
import { startTask } from "./new-task.ts";
import { promote } from "./promotion.ts";
import { followEnded } from "./restarts.ts";
import { begin, judge, roll } from "./rolling.ts";
import { isLost } from "./tasks.ts";

/** A decision, and the tasks as it leaves them: those that wait are still to be placed. */
export interface Drafted extends Decision {
  readonly tasks: readonly Task[];
}

/**
 * What is to be done with the tasks of a service. It follows from the rows alone: who begins to lead goes on where the one
 * before has ended.
 */
export function decide(view: ServiceView): Drafted {
  const { service, now } = view;
  const draft = new Draft(view.tasks, service.update);
  const isJob = service.spec.mode.kind.endsWith("job");
  const fits = fitsIn(service);
  const one: Case = { ...view, draft, isJob, fits, isOutdated: (task) => isOutdated(task, view, fits) };
  const slots = modes[service.spec.mode.kind](one);
  const rollback = judge(one, slots.kept);
  if (rollback !== undefined) {
    draft.edits.push({ kind: "rollback", message: rollback });
    return { serviceId: service.id, service, edits: draft.edits, tasks: view.tasks };
  }
  look(one, slots);
  const { again, edits, tasks } = draft;
  return { serviceId: service.id, service, edits, tasks, ...(again !== undefined && { again: Math.max(again, now) }) };
}

function look(one: Case, { kept, resting, filled, dropped }: Slots): void {
  const { draft, now, nodeOf, historyLimit } = one;
  finishDrains(one);
  for (const { slot, desired } of dropped)
    for (const task of draft.in(slot)) draft.stop(task, desired, { drains: !isLost(nodeOf(task.nodeId ?? "")), now });
  if (!one.isJob) begin(one, kept);
  for (const slot of kept) followEnded(one, slot, true);
  for (const slot of resting) followEnded(one, slot, false);
  for (const place of filled) startTask(one, place);
  if (!one.isJob) roll(one, kept);
  for (const slot of draft.slots) promote(one, slot);
  orphan(draft, one);
  sweep(draft);
  for (const slot of draft.slots) forget(draft, draft.in(slot), historyLimit);
}

/** What is to be done with the tasks of a service that is gone. */
export function decideRemoved(serviceId: ServiceId, view: View): Drafted {
  const draft = new Draft(view.tasks);
  for (const task of draft.tasks) draft.stop(task, "remove", { drains: false, now: view.now });
  orphan(draft, view);
  sweep(draft);
  const { again, edits, tasks } = draft;
  return { serviceId, service: undefined, edits, tasks, ...(again !== undefined && { again }) };
}

/** Constraints and platforms of a service; what a node has room for is the scheduler's to know. */
function fitsIn({ spec }: Service): (node: ClusterNode) => boolean {
  const { placement } = spec.task;
  const constraints = constraintsOf(placement);
  return (node) => satisfies(node, constraints) && hasPlatform(node, placement.platforms);
}

/** Made from another template, or where it should not be, or waiting for a place by rules that are not the present ones. */
function isOutdated(task: Task, { service, nodeOf }: ServiceView, fits: (node: ClusterNode) => boolean): boolean {
  if (task.templateVersion !== service.templateVersion) return true;
  if (task.nodeId === undefined) return !isDeepStrictEqual(task.template.placement, service.spec.task.placement);
  const node = nodeOf(task.nodeId);
  return node !== undefined && !fits(node);
}
