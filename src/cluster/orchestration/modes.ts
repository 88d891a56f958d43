import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import type { ServiceMode, Task } from "../../model/service.ts";
import { type Case, nowhere, type SlotKey, slotOf } from "./draft.ts";
import { mayFollow } from "./restarts.ts";
import { isGivenUp, isLive, isLost, newest } from "./tasks.ts";

/** Which slots a service has and is to have. */
export interface Slots {
  /** Those that go on; where tasks may be started, and where not. */
  readonly kept: readonly SlotKey[];
  readonly resting: readonly SlotKey[];
  /** Those that a task is to be made for. */
  readonly filled: readonly Pick<Task, "slot" | "nodeId">[];
  /** Those that are given up. */
  readonly dropped: readonly { readonly slot: SlotKey; readonly desired: "shutdown" | "remove" }[];
}

/** How the slots of each mode are chosen. */
export const modes: { readonly [K in ServiceMode["kind"]]: (one: Case) => Slots } = {
  replicated,
  global: globalSlots,
  "replicated-job": replicatedJob,
  "global-job": globalJob,
};

type ModeOf<K extends ServiceMode["kind"]> = Extract<ServiceMode, { readonly kind: K }>;

/** True where a task is live, or was and is not to be followed: the slot counts, and gets no other task. */
function isOccupied(tasks: readonly Task[]): boolean {
  if (tasks.length === 0) return false;
  const last = newest(tasks);
  return tasks.some(isLive) || (!isGivenUp(last) && !mayFollow(last, tasks));
}

const removed = (slots: readonly SlotKey[]) => slots.map((slot) => ({ slot, desired: "remove" }) as const);

/** The first numbers from 1 on that are not taken. */
function freeNumbers(count: number, isTaken: (number: number) => boolean): number[] {
  const free: number[] = [];
  for (let number = 1; free.length < count; number += 1) if (!isTaken(number)) free.push(number);
  return free;
}

function replicated(one: Case): Slots {
  const { draft, service } = one;
  const { replicas } = service.spec.mode as ModeOf<"replicated">;
  const occupied = draft.slots.filter((slot) => isOccupied(draft.in(slot)));
  const kept = occupied.length > replicas ? bestSlots(one, occupied).slice(0, replicas) : occupied;
  const numbers = new Set(occupied.map(Number));
  const free = freeNumbers(Math.max(replicas - occupied.length, 0), (number) => numbers.has(number));
  const used = new Set([...kept, ...free.map(String)]);
  return {
    kept: kept.toSorted((a, b) => Number(a) - Number(b)),
    resting: [],
    filled: free.map((slot) => ({ slot })),
    dropped: removed(draft.slots.filter((slot) => !used.has(slot))),
  };
}

/**
 * The slots in the order in which they are kept: of those on one node the first, of each node, then the second, and so on; on
 * a node those that run first, then the lower numbers. Those without a place, or with two tasks, are given up first
 * (moby/swarmkit manager/orchestrator/replicated).
 */
function bestSlots({ draft }: Case, slots: readonly SlotKey[]): SlotKey[] {
  const counts = new Map<NodeId, number>();
  const all = slots.map((slot) => ({ slot, live: draft.in(slot).filter(isLive) }));
  const rests = (tasks: readonly Task[]) => (tasks.some(({ status }) => status.state === "running") ? 0 : 1);
  const inOrder = all.toSorted((a, b) => rests(a.live) - rests(b.live) || Number(a.slot) - Number(b.slot));
  const counted = inOrder.map(({ slot, live: [task, ...others] }) => {
    if (task?.nodeId === undefined || others.length > 0) return { slot, count: Infinity };
    const count = (counts.get(task.nodeId) ?? 0) + 1;
    counts.set(task.nodeId, count);
    return { slot, count };
  });
  return counted.toSorted((a, b) => (a.count === b.count ? 0 : a.count - b.count)).map(({ slot }) => slot);
}

/** The nodes that a service with a task on each is for. */
const nodesFor = ({ nodes, fits }: Case) =>
  nodes().filter((node) => !isLost(node) && node.availability !== "drain" && fits(node));

/** Without a node that it fits on there is a task all the same, which says why. */
function orNowhere(nodes: readonly ClusterNode[], isOccupiedAt: (node: string) => boolean): Slots["filled"] {
  if (nodes.length === 0) return isOccupiedAt(nowhere) ? [] : [{ slot: 0 }];
  const free = nodes.filter(({ id, availability }) => availability === "active" && !isOccupiedAt(id));
  return free.map(({ id }) => ({ slot: 0, nodeId: id }));
}

function globalSlots(one: Case): Slots {
  const { draft, nodeOf } = one;
  const nodes = nodesFor(one);
  const wanted = new Map(nodes.map((node) => [node.id, node]));
  const isActive = (slot: SlotKey) => wanted.get(slot)?.availability === "active";
  const isOwn = (slot: SlotKey) => wanted.has(slot) || (slot === nowhere && nodes.length === 0);
  const own = draft.slots.filter(isOwn);
  return {
    kept: own.filter((slot) => isActive(slot) && isOccupied(draft.in(slot))),
    resting: own.filter((slot) => !isActive(slot)),
    filled: orNowhere(nodes, (slot) => isOccupied(draft.in(slot))),
    dropped: draft.slots
      .filter((slot) => !isOwn(slot))
      .map((slot) => ({ slot, desired: nodeOf(slot) === undefined ? "remove" : "shutdown" })),
  };
}

const keyIn = ({ service }: Case, place: Pick<Task, "slot" | "nodeId">) =>
  slotOf({ ...place, ...(service.job !== undefined && { jobIteration: service.job.iteration }) });
const isDone = (tasks: readonly Task[]) => tasks.some(({ status }) => status.state === "complete");

/** The slots of this run of a job, and of others. */
function ofThisRun({ draft, service }: Case) {
  const isThis = (slot: SlotKey) => draft.in(slot).some(({ jobIteration }) => jobIteration === service.job?.iteration);
  const { own = [], others = [] } = Object.groupBy(draft.slots, (slot) => (isThis(slot) ? "own" : "others"));
  return { own, others };
}

function replicatedJob(one: Case): Slots {
  const { draft, service } = one;
  const { total, concurrent } = service.spec.mode as ModeOf<"replicated-job">;
  const { own, others } = ofThisRun(one);
  const occupied = new Set(own.filter((slot) => isOccupied(draft.in(slot))));
  const busy = own.filter((slot) => draft.in(slot).some(isLive) && !isDone(draft.in(slot)));
  const count = Math.min(concurrent - busy.length, total - occupied.size);
  const free = freeNumbers(Math.max(count, 0), (slot) => occupied.has(keyIn(one, { slot })));
  return { kept: own, resting: [], filled: free.map((slot) => ({ slot })), dropped: removed(others) };
}

function globalJob(one: Case): Slots {
  const { draft } = one;
  const nodes = nodesFor(one).filter(({ status }) => status.state === "ready");
  const { own, others } = ofThisRun(one);
  const active = new Set(
    nodes.flatMap(({ id, availability }) => (availability === "active" ? keyIn(one, { slot: 0, nodeId: id }) : [])),
  );
  const at = (node: NodeId) => keyIn(one, node === nowhere ? { slot: 0 } : { slot: 0, nodeId: node });
  const isPlaceholder = (slot: SlotKey) => nodes.length > 0 && slot === at(nowhere);
  const kept = own.filter((slot) => !isPlaceholder(slot));
  return {
    kept: kept.filter((slot) => active.has(slot)),
    resting: kept.filter((slot) => !active.has(slot)),
    filled: orNowhere(nodes, (node) => isOccupied(draft.in(at(node)))),
    dropped: removed([...others, ...own.filter(isPlaceholder)]),
  };
}
