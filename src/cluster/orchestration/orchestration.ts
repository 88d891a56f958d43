import { isDeepStrictEqual } from "node:util";
import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import { hasEnded, type Service, type ServiceId, type Task, type TaskId } from "../../model/service.ts";
import type { Commit, RowKey, Snapshot } from "../../store/store.ts";
import { decide, decideRemoved, type Drafted } from "./decide.ts";
import { hasAcknowledged, isDraining } from "./draining.ts";
import type { Decision } from "./edits.ts";
import { place, type Waiting } from "./placing.ts";
import { Rooms } from "./rooms.ts";
import { isLive, isPlaced, isWaiting } from "./tasks.ts";

/**
 * Knows which services a change concerns, so that a decision costs what has changed, not what there is. All of it is found
 * again in the rows: who begins to lead looks at everything once.
 */
export class Orchestration {
  readonly #newId: () => TaskId;
  /** What is taken of each node. */
  readonly rooms = new Rooms();
  /** Services to be looked at. */
  readonly #dirty = new Set<ServiceId>();
  /** Those whose tasks may be anywhere, or on each node: a node that comes concerns them. */
  readonly #global = new Set<ServiceId>();
  readonly #waiting: Waiting = new Map();
  readonly #draining = new Map<TaskId, ServiceId>();
  /** Nodes that have room that they had not; undefined: anything about nodes may have changed. */
  #freed: Set<NodeId> | undefined = new Set();
  #rows: Snapshot | undefined;

  constructor(newId: () => TaskId) {
    this.#newId = newId;
  }

  /** Takes note of a commit; the first has every row. */
  note({ snapshot, changed }: Commit): void {
    const before = this.#rows;
    this.#rows = snapshot;
    for (const key of changed) this.#noteRow(key, before, snapshot);
  }

  #noteRow({ table, key }: RowKey, before: Snapshot | undefined, after: Snapshot): void {
    if (table === "services") this.#noteService(key, after.get(table, key));
    else if (table === "tasks") this.#noteTask(key, before?.get(table, key), after.get(table, key));
    else if (table === "nodes") this.#noteNode(key, before?.get(table, key), after.get(table, key));
    else if (table === "claims") this.rooms.addresses.noteClaim(key, before, after);
    else if (table === "pools") this.rooms.addresses.notePool(key);
    else if (table === "acknowledgements") for (const service of this.#draining.values()) this.#dirty.add(service);
    else if (table === "clusters") {
      const [old, row] = [before?.get(table, key), after.get(table, key)];
      if (old?.spec.taskHistoryLimit !== row?.spec.taskHistoryLimit) this.#lookAtAll(after);
    }
  }

  #lookAtAll(rows: Snapshot): void {
    for (const { id } of rows.list("services")) this.#dirty.add(id);
  }

  #noteService(id: ServiceId, service: Service | undefined): void {
    this.#dirty.add(id);
    if (service?.spec.mode.kind.startsWith("global") === true) this.#global.add(id);
    else this.#global.delete(id);
  }

  #noteTask(id: TaskId, before: Task | undefined, task: Task | undefined): void {
    const service = task?.serviceId ?? before?.serviceId;
    if (service === undefined) return;
    this.#dirty.add(service);
    this.rooms.setTask(id, task);
    if (before?.nodeId !== undefined && isLess(before, task)) this.#freed?.add(before.nodeId);
    this.#setWaiting(id, service, task !== undefined && isWaiting(task));
    if (task !== undefined && isDraining(task)) this.#draining.set(id, service);
    else this.#draining.delete(id);
  }

  #setWaiting(id: TaskId, service: ServiceId, isWaitingNow: boolean): void {
    const waiting = this.#waiting.get(service) ?? new Set();
    if (isWaitingNow) this.#waiting.set(service, waiting.add(id));
    else if (waiting.delete(id) && waiting.size === 0) this.#waiting.delete(service);
  }

  #noteNode(id: NodeId, before: ClusterNode | undefined, node: ClusterNode | undefined): void {
    if (isUnlike(before, node, askedByDrains)) for (const service of this.#draining.values()) this.#dirty.add(service);
    const isOther = isUnlike(before, node, askedByTasks);
    if (!isOther && !isUnlike(before, node, askedByPlaces)) return;
    this.rooms.setNode(id, node);
    this.#freed?.add(id);
    if (!isOther) return;
    this.#freed = undefined;
    for (const service of this.#global) this.#dirty.add(service);
    for (const { serviceId } of this.#rows?.where("tasks", "node", id) ?? []) this.#dirty.add(serviceId);
  }

  /** True when there is something to look at. */
  get isDue(): boolean {
    if (this.#dirty.size > 0 || this.#freed === undefined) return true;
    return this.#waiting.size > 0 && (this.#freed.size > 0 || this.rooms.addresses.hasFreed);
  }

  /** Looks at a service again though nothing has changed: time has. */
  look(service: ServiceId): void {
    this.#dirty.add(service);
  }

  /**
   * What is to be done now, service by service. It has to be carried out, or noted by `drop`, before the next.
   * @param now milliseconds since 1970
   */
  decide(now: number): Decision[] {
    const rows = this.#rows;
    if (rows === undefined) return [];
    const drafted = [...this.#dirty].map((id) => this.#decideFor(id, rows, now));
    this.#dirty.clear();
    const freed = this.#freed;
    this.#freed = new Set();
    const freedAddresses = this.rooms.addresses.takeFreed();
    return place(drafted, { rows, rooms: this.rooms, waiting: this.#waiting, freed, freedAddresses, now }).filter(
      ({ edits, again }) => edits.length > 0 || again !== undefined,
    );
  }

  #decideFor(id: ServiceId, rows: Snapshot, now: number): Drafted {
    const service = rows.get("services", id);
    const view = {
      tasks: rows.where("tasks", "service", id),
      nodeOf: (node: NodeId) => rows.get("nodes", node),
      now,
      newId: this.#newId,
      hasAcknowledged: (task: TaskId) => hasAcknowledged(rows, task),
    };
    if (service === undefined) return decideRemoved(id, view);
    const historyLimit = rows.list("clusters")[0]?.spec.taskHistoryLimit ?? defaultHistory;
    return decide({ ...view, service, nodes: () => rows.list("nodes"), historyLimit });
  }

  /** What was decided for a service was not done: its tasks are where the rows say. */
  drop({ serviceId, edits }: Decision): void {
    for (const edit of edits) {
      const isOfOld = edit.kind === "place" || edit.kind === "stop";
      const id = edit.kind === "create" ? edit.task.id : isOfOld ? edit.id : undefined;
      if (id !== undefined) this.rooms.setTask(id, this.#rows?.get("tasks", id));
    }
    this.#dirty.add(serviceId);
  }
}

const defaultHistory = 5; // moby/swarmkit's, while there is no cluster

/** True when the task takes less of its node than before. */
const isLess = (before: Task, task: Task | undefined) =>
  isPlaced(before) && (task === undefined || (isLive(before) && !isLive(task)) || hasEnded(task.status.state));

function isUnlike(
  before: ClusterNode | undefined,
  node: ClusterNode | undefined,
  asked: (node: ClusterNode) => unknown,
) {
  return !isDeepStrictEqual(before && asked(before), node && asked(node));
}

/** What of a node's row tasks and their places depend on. */
function askedByTasks({
  status,
  availability,
  role,
  labels,
  engineLabels,
  hostname,
  platform,
  resources,
}: ClusterNode) {
  const { state, address } = status;
  return { state, address, availability, role, labels, engineLabels, hostname, platform, resources };
}

/** What of it decides besides whether a task may begin there; tasks that run stay. */
const askedByPlaces = ({ takenPorts, wireguard }: ClusterNode) => ({ takenPorts, encryptor: wireguard?.by });

/** What of a node's row it depends on who has to acknowledge. */
const askedByDrains = ({ status: { state, holder }, manager }: ClusterNode) => ({
  state,
  holder,
  hasVote: manager !== undefined,
});
