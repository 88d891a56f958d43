import { isDeepStrictEqual } from "node:util";
import { countAssignable, noAddress } from "../../../ipam/claim.ts";
import type { NodeId } from "../../../model/cluster.ts";
import { compareStates, hasEnded, type Service, type Task } from "../../../model/service.ts";
import type { Change, Rows } from "../../../store/rows.ts";
import { hasAcknowledged, patience } from "../draining.ts";
import { slotOf } from "../draft.ts";
import { added, emptyLoad } from "../rooms.ts";
import { isLive, isLost, isPlaced, isWaiting } from "../tasks.ts";
import type { World } from "./world-testing.ts";

function demand(condition: boolean, text: () => string): void {
  if (!condition) throw new Error(text());
}

/** What must hold after each commit. */
export function check(before: Rows, world: World, changes: readonly Change[]): void {
  const slots = new Map<string, Task>();
  for (const [{ table, key }, row] of changes) {
    if (table !== "tasks") continue;
    const [old, task] = [before.get("tasks", key), row as Task | undefined];
    if (old !== undefined && task !== undefined) checkStep(before, world, old, task);
    if (old !== undefined && task === undefined) checkEnd(world, old);
    if (task !== undefined) slots.set(`${task.serviceId} ${slotOf(task)}`, task);
  }
  for (const task of slots.values()) checkSlot(world, task);
  for (const { taskId, isLost = false } of world.rows.list("backends")) {
    const task = world.rows.get("tasks", taskId);
    const takes = task?.status.state === "running" && isLive(task) !== isLost;
    demand(takes, () => `a backend of task ${taskId}, which takes no connections: ${JSON.stringify(task)}`);
  }
}

/** A task goes to the right, stays where it was put, and is told to stop only when nobody connects to it any more. */
function checkStep(before: Rows, world: World, old: Task, task: Task): void {
  const say = (what: string) => () => `${what}: ${JSON.stringify(old)} ${JSON.stringify(task)}`;
  demand(compareStates(task.status.state, old.status.state) >= 0, say("a state went to the left"));
  demand(compareStates(task.desired, old.desired) >= 0, say("desired went to the left"));
  demand(old.nodeId === undefined || old.nodeId === task.nodeId, say("a task has moved"));
  const isKept = before.get("services", old.serviceId) !== undefined && !isLost(before.get("nodes", old.nodeId ?? ""));
  const { drainingSince, acknowledgedAt } = old;
  if (acknowledgedAt === undefined && task.acknowledgedAt !== undefined)
    demand(hasAcknowledged(before, old.id), say("taken for acknowledged"));
  if (!isTold(task) || isTold(old) || !isKept || hasEnded(old.status.state)) return;
  demand(before.where("backends", "task", old.id).length === 0, say("told to stop while it takes connections"));
  if (drainingSince === undefined) return;
  const isWaitedFor = hasAcknowledged(before, old.id) || world.clock.now >= drainingSince + patience;
  demand(acknowledgedAt !== undefined || isWaitedFor, say("told to stop before it was drained"));
}
const isTold = ({ desired }: Task) => compareStates(desired, "complete") > 0;

/** A row is deleted when its node has no container of it any more, or will never tell. */
function checkEnd({ rows }: World, old: Task): void {
  const isOver = hasEnded(old.status.state) || !isPlaced(old) || rows.get("nodes", old.nodeId ?? "") === undefined;
  demand(isOver, () => `a task was deleted that may run: ${JSON.stringify(old)}`);
}

/** One task of a slot is told to run, two while an update starts first. */
function checkSlot({ rows }: World, { serviceId, slot, nodeId, jobIteration }: Task): void {
  const service = rows.get("services", serviceId);
  if (service === undefined) return;
  const key = slotOf({ slot, ...(nodeId && { nodeId }), ...(jobIteration !== undefined && { jobIteration }) });
  const there = rows
    .where("tasks", "slot", `${serviceId}|${slot}`)
    .filter(
      (task) =>
        slotOf(task) === key && isLive(task) && !isLost(task.nodeId ? rows.get("nodes", task.nodeId) : undefined),
    );
  const starts = [service.spec.update, service.spec.rollback].some(({ order }) => order === "start-first");
  demand(there.length <= (starts ? 2 : 1), () => `${there.length} tasks in one slot: ${JSON.stringify(there)}`);
}

/** What must hold when nothing has happened for long. */
export function checkQuiet(world: World): void {
  const { rows } = world;
  const left = world.leftToDo();
  demand(left.length === 0, () => `something is left to do: ${JSON.stringify(left)}`);
  for (const service of rows.list("services")) checkService(world, service);
  for (const task of rows.list("tasks")) {
    const isOfSome = rows.get("services", task.serviceId) !== undefined || isLost(rows.get("nodes", task.nodeId ?? ""));
    demand(isOfSome, () => `a task without a service: ${JSON.stringify(task)}`);
  }
  const running = rows.list("tasks").filter((task) => isLive(task) && task.status.state === "running");
  const [lost = [], taking = []] = [true, false].map((of) =>
    rows.list("backends").filter(({ isLost = false }) => isLost === of),
  );
  demand(taking.length === running.length, () => "backends and running tasks differ");
  demand(
    lost.every(({ nodeId }) => isLost(rows.get("nodes", nodeId))),
    () => "a backend is lost whose node is not",
  );
  demand(rows.list("acknowledgements").length === 0, () => "acknowledgements are left");
  const connected = [...world.nodes.values()].filter(({ isConnected }) => isConnected);
  const containers = connected.flatMap((node) =>
    [...node.containers].flatMap(([id, one]) => (one.state === "running" ? id : [])),
  );
  demand(
    isDeepStrictEqual(new Set(containers), new Set(running.map(({ id }) => id))),
    () => `containers ${containers.join()} run, tasks ${running.map(({ id }) => id).join()}`,
  );
  checkRooms(world);
  checkAddresses(world);
}

/** Who waits for an address waits because there is none. */
function checkAddresses({ rows, pool }: World): void {
  const left = countAssignable(pool) - rows.where("claims", "pool", pool.id).length;
  const waiting = rows.list("tasks").filter((task) => isWaiting(task) && task.status.error === noAddress(rows, pool));
  demand(left >= 0 && (left === 0 || waiting.length === 0), () => `${left} addresses are left for ${waiting.length}`);
}

function checkRooms({ rows, rooms }: World): void {
  for (const { node, load } of rooms.all) {
    const own = rows.where("tasks", "node", node.id).reduce((sum, task) => added(sum, task), emptyLoad);
    demand(
      isDeepStrictEqual(own, load),
      () => `node ${node.id} has ${JSON.stringify(own)}, counted ${JSON.stringify(load)}`,
    );
  }
}

/** The service has what it is to have, or says why not. */
function checkService({ rows }: World, service: Service): void {
  const { mode, task: template, update: policy } = service.spec;
  const tasks = rows.where("tasks", "service", service.id);
  const live = tasks.filter(isLive);
  const say = (what: string) => () => `${what}: ${JSON.stringify(service)} ${JSON.stringify(tasks)}`;
  const isJob = mode.kind.endsWith("job");
  const isStuck = live.some(isWaiting);
  for (const task of live.filter(isWaiting)) demand(task.status.error !== "", say("a task waits and does not say why"));
  // Where tasks may be given up there may be fewer, and then an update may have been paused.
  if (template.restart.maxAttempts > 0) return;
  const count = "replicas" in mode ? mode.replicas : "total" in mode ? mode.total : fitting(rows, service).length || 1;
  if (isJob) {
    const done = doneIn(rows, service, tasks);
    demand(isStuck || (mode.kind === "global-job" ? done >= count : done === count), say(`${done} done, not ${count}`));
    return;
  }
  const there = live.filter((task) => isStuck || isUp(task));
  const most = isStuck && policy.order === "start-first" ? 2 * count : count;
  demand(there.length >= count && there.length <= most, say(`${there.length} tasks, not ${count}`));
  const state = service.update?.state ?? "completed";
  demand(isStuck || !["updating", "rollback_started"].includes(state), say("the update is not done"));
  const old = live.filter(({ templateVersion }) => templateVersion !== service.templateVersion);
  demand(isStuck || state.endsWith("paused") || old.length === 0, say("outdated tasks are left"));
}
/** Slots in which this run of a job has come to its end, on nodes that are there where it has one for each. */
function doneIn(rows: Rows, { job, spec }: Service, tasks: readonly Task[]): number {
  const isThere = ({ nodeId = "" }: Task) => spec.mode.kind !== "global-job" || rows.get("nodes", nodeId) !== undefined;
  const done = tasks.filter((task) => task.jobIteration === job?.iteration && task.status.state === "complete");
  return new Set(done.filter(isThere).map(slotOf)).size;
}

const isUp = ({ status, desired }: Task) => status.state === "running" && desired === "running";

/** Nodes of a global service; here it asks for a zone at most. */
function fitting(rows: Rows, { spec }: Service): NodeId[] {
  const zone = /^node\.labels\.zone==(.*)$/.exec(spec.task.placement.constraints[0] ?? "")?.[1];
  return rows
    .list("nodes")
    .filter(({ status, availability }) => status.state === "ready" && availability === "active")
    .filter(({ labels }) => zone === undefined || labels["zone"] === zone)
    .map(({ id }) => id);
}
