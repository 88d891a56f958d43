import type { NodeId } from "../../model/cluster.ts";
import type { ServiceId, Task, TaskId } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
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
  readonly now: number;
}

/** The decisions, and besides where waiting tasks go: those of these services, and others for which there is room now. */
export function place(drafted: readonly Drafted[], places: Places): Decision[] {
  for (const decision of drafted) leave(decision, places.rooms);
  const ids = new Set(drafted.map(({ serviceId }) => serviceId));
  const mayFit = places.freed?.size === 0 ? [] : [...places.waiting.keys()];
  const others = mayFit.filter((id) => !ids.has(id)).flatMap((id) => undraftedOf(id, places));
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
function undraftedOf(serviceId: ServiceId, { rows, waiting, rooms, freed }: Places): Drafted[] {
  const ids = [...(waiting.get(serviceId) ?? [])];
  const tasks = ids.flatMap((id) => rows.get("tasks", id) ?? []);
  const isRoomFor = ([first]: readonly Task[]) => {
    const filters = first === undefined ? [] : filtersOf(first, rows);
    const some = [...(freed ?? [])].flatMap((id) => rooms.get(id) ?? []);
    return some.some((room) => filters.every(({ fits }) => fits(room)));
  };
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
    ...groupsOf(others).flatMap((group) => {
      const { nodes, reason } = schedule(group, places.rows, places.rooms.all, failures);
      return group.flatMap((task) => placedOn(task, nodes.get(task.id), places) ?? explained(task, reason));
    }),
  ];
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
  const filters = filtersOf(task, places.rows);
  if (task.nodeId === undefined) {
    const { reason } = schedule([task], places.rows, places.rooms.all);
    return explained(task, reason);
  }
  const room = places.rooms.get(task.nodeId);
  if (room === undefined) return [];
  const why = explain(filters, [room]);
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
