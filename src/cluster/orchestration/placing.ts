import type { NodeId } from "../../model/cluster.ts";
import type { NetworkId, PoolId } from "../../model/ids.ts";
import type { ServiceId, Task, TaskId } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
import { isFreedFor } from "./addresses.ts";
import type { Drafted } from "./decide.ts";
import type { Decision, Edit } from "./edits.ts";
import { explain, filtersOf } from "./filters.ts";
import type { Rooms } from "./rooms.ts";
import { failing, placed, schedule } from "./scheduler.ts";
import { isWaiting } from "./tasks.ts";

/** Tasks without a place, by service. */
export type Waiting = Map<ServiceId, Set<TaskId>>;

/** What places are chosen from. */
export interface Places {
  readonly rows: Snapshot;
  /** Tasks that get a place are counted here at once. */
  readonly rooms: Rooms;
  readonly waiting: Waiting;
  /** Nodes that have room that they had not; undefined: any may have. */
  readonly freed: ReadonlySet<NodeId> | undefined;
  /** Networks and pools where addresses were given back. */
  readonly freedAddresses: ReadonlySet<NetworkId | PoolId>;
  readonly now: number;
}

/** The decisions, and besides where waiting tasks go: those of these services, and others for which there is room now. */
export function place(drafted: readonly Drafted[], places: Places): Decision[] {
  for (const decision of drafted) leave(decision, places.rooms);
  const ids = new Set(drafted.map(({ serviceId }) => serviceId));
  const isSame = places.freed?.size === 0 && places.freedAddresses.size === 0;
  const others = (isSame ? [] : [...places.waiting.keys()])
    .filter((id) => !ids.has(id))
    .flatMap((id) => undraftedOf(id, places));
  return [...drafted, ...others].map(({ tasks, ...decision }) => ({
    ...decision,
    edits: [...decision.edits, ...placesOf(tasks.filter(isWaiting), tasks, places)],
  }));
}

/** What is about to stop does not count any more, so that what follows it may be on the same node. */
function leave({ edits, tasks }: Drafted, rooms: Rooms): void {
  const ids = new Set(edits.flatMap((edit) => (edit.kind === "stop" ? edit.id : [])));
  for (const task of tasks) if (ids.has(task.id)) rooms.setTask(task.id, task);
}

/** A service of which nothing has changed but that there may be room for its tasks. */
function undraftedOf(serviceId: ServiceId, places: Places): Drafted[] {
  const { rows, waiting, freed } = places;
  const ids = [...(waiting.get(serviceId) ?? [])];
  const tasks = ids.flatMap((id) => rows.get("tasks", id) ?? []);
  const isRoomFor = ([first]: readonly Task[]) => first !== undefined && mayFit(first, places);
  if (freed !== undefined && !groupsOf(tasks).some(isRoomFor)) return [];
  return [
    {
      serviceId,
      service: rows.get("services", serviceId),
      edits: [],
      tasks: rows.where("tasks", "service", serviceId),
    },
  ];
}

/** True when a task that did not fit may do so now, by what was given back. */
function mayFit(task: Task, { rows, rooms, freed, freedAddresses }: Places): boolean {
  if (rooms.addresses.roomFor(task, rows).count === 0) return false;
  if (isFreedFor(task, freedAddresses, rows)) return true;
  const filters = filtersOf(task, rows);
  const some = [...(freed ?? [])].flatMap((id) => rooms.get(id) ?? []);
  return some.some((room) => filters.every(({ fits }) => fits(room)));
}

/** Tasks that ask for the same. */
const groupsOf = (tasks: readonly Task[]): Task[][] => [
  ...Map.groupBy(tasks, ({ templateVersion, template }) =>
    JSON.stringify([templateVersion, template.placement]),
  ).values(),
];

/** @param all tasks of the service, among them those that wait */
function placesOf(waiting: readonly Task[], all: readonly Task[], places: Places): Edit[] {
  const { own = [], others = [] } = Object.groupBy(waiting, ({ slot }) => (slot === 0 ? "own" : "others"));
  const failures = failuresOf(all, places.now);
  return [
    ...own.flatMap((task) => confirmed(task, places)),
    ...groupsOf(others).flatMap((group) => placesOfGroup(group, places, failures)),
  ];
}

/** As many as there are addresses for go where there is room. */
function placesOfGroup(group: readonly Task[], places: Places, failures: ReadonlyMap<NodeId, number>): Edit[] {
  const { rows, rooms } = places;
  const [first] = group;
  if (first === undefined) return [];
  const { count, lack } = rooms.addresses.roomFor(first, rows);
  const { nodes, reason } = schedule(group.slice(0, count), rows, rooms.all, failures);
  return group.flatMap((task) => placedOn(task, nodes.get(task.id), places) ?? explained(task, reason || lack));
}

const messages = {
  chosen: "scheduler assigned task to node",
  confirmed: "scheduler confirmed task can run on preassigned node",
} as const; // moby/swarmkit manager/scheduler

function placedOn(task: Task, nodeId: NodeId | undefined, { rooms, now }: Places): Edit[] | undefined {
  if (nodeId === undefined) return undefined;
  const message = task.nodeId === undefined ? messages.chosen : messages.confirmed;
  rooms.setTask(task.id, placed(task, nodeId, now, message));
  return [{ kind: "place", id: task.id, nodeId, message }];
}

const explained = ({ id, status }: Task, error: string): Edit[] =>
  status.error === error ? [] : [{ kind: "explain", id, error }];

/** The task of a global service has its node, and waits until there is room. */
function confirmed(task: Task, places: Places): Edit[] {
  const { rows, rooms } = places;
  if (task.nodeId === undefined) return explained(task, schedule([task], rows, rooms.all).reason);
  const room = rooms.get(task.nodeId);
  if (room === undefined) return [];
  const { count, lack } = rooms.addresses.roomFor(task, rows);
  const why = explain(filtersOf(task, rows), [room]) || (count === 0 ? lack : "");
  return why === "" ? (placedOn(task, task.nodeId, places) ?? []) : explained(task, why);
}

/** How often tasks of the present template have failed on each node lately. */
function failuresOf(tasks: readonly Task[], now: number): ReadonlyMap<NodeId, number> {
  const versions = new Set(tasks.filter(isWaiting).map(({ templateVersion }) => templateVersion));
  const counts = new Map<NodeId, number>();
  for (const { nodeId, status, templateVersion } of tasks)
    if (nodeId !== undefined && ["failed", "rejected"].includes(status.state) && versions.has(templateVersion))
      if (status.at > now - failing.within) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  return counts;
}
