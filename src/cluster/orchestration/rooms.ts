import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import { hasEnded, type ServiceId, type ServicePort, type Task, type TaskId } from "../../model/service.ts";
import { Addresses } from "./addresses.ts";
import { isLive, isPlaced } from "./tasks.ts";

/** What the tasks on a node take of it. */
export interface Load {
  /** Tasks that are to go on. */
  readonly tasks: number;
  /** By service, and by `templateOf`. */
  readonly byService: ReadonlyMap<ServiceId, number>;
  /** Reserved, until the task has ended. */
  readonly nanoCpus: number;
  readonly memory: number; // bytes
  /** How many tasks have a port of the host. */
  readonly ports: ReadonlyMap<string, number>;
}

/** A node, and what is taken of it. */
export interface Room {
  readonly node: ClusterNode;
  readonly load: Load;
}

export const emptyLoad: Load = { tasks: 0, byService: new Map(), nanoCpus: 0, memory: 0, ports: new Map() };

/** The ports of the host that a task must have, `tcp|80|` on all addresses; those that the node chooses are in nobody's way. */
export const fixedPorts = (ports: readonly ServicePort[]): string[] =>
  ports.flatMap(({ protocol, published, address = "" }) =>
    published === 0 ? [] : `${protocol}|${published}|${address}`,
  );

/** True when a task has the port: on all addresses, or on one of those that are asked for. */
export function hasPort({ ports }: Load, wish: string): boolean {
  const onAll = wish.slice(0, wish.lastIndexOf("|") + 1);
  return (
    ports.has(wish) || ports.has(onAll) || (wish === onAll && [...ports.keys()].some((one) => one.startsWith(onAll)))
  );
}

/** `<service>|<template>`: while an update goes on, new tasks are spread by themselves. */
export const templateOf = ({ serviceId, templateVersion }: Task): string => `${serviceId}|${templateVersion}`;

/** The load with a task more, or, with `by` -1, with one less. */
export function added(load: Load, task: Task, by: 1 | -1 = 1): Load {
  if (!isPlaced(task) || hasEnded(task.status.state)) return load;
  const { reservations } = task.template;
  const counts = isLive(task) ? by : 0;
  const ports = fixedPorts(task.hostPorts);
  return {
    tasks: load.tasks + counts,
    byService: counts === 0 ? load.byService : counted(load.byService, [task.serviceId, templateOf(task)], by),
    nanoCpus: load.nanoCpus + by * reservations.nanoCpus,
    memory: load.memory + by * reservations.memory,
    ports: ports.length === 0 ? load.ports : counted(load.ports, ports, by),
  };
}

function counted(counts: ReadonlyMap<string, number>, keys: readonly string[], by: number): Map<string, number> {
  const changed = new Map(counts);
  for (const key of keys) {
    const count = (changed.get(key) ?? 0) + by;
    if (count === 0) changed.delete(key);
    else changed.set(key, count);
  }
  return changed;
}

/** All nodes with their loads, and what is left of addresses, kept as rows change: what a placement looks at instead of all tasks. */
export class Rooms {
  readonly addresses = new Addresses();
  readonly #rooms = new Map<NodeId, Room>();
  /** The rows that the loads are made of. */
  readonly #tasks = new Map<TaskId, Task>();
  /** Of nodes that have no row (any more). */
  readonly #loads = new Map<NodeId, Load>();

  get all(): Iterable<Room> {
    return this.#rooms.values();
  }
  get(node: NodeId): Room | undefined {
    return this.#rooms.get(node);
  }

  setNode(id: NodeId, node: ClusterNode | undefined): void {
    const load = this.#loadOf(id);
    this.#rooms.delete(id);
    this.#loads.delete(id);
    if (node !== undefined) this.#rooms.set(id, { node, load });
    else if (load !== emptyLoad) this.#loads.set(id, load);
  }

  /** The task as it is now; undefined when it has no row any more. */
  setTask(id: TaskId, task: Task | undefined): void {
    const before = this.#tasks.get(id);
    this.addresses.setTask(before, task);
    if (before !== undefined) this.#change(before, -1);
    if (task === undefined) this.#tasks.delete(id);
    else {
      this.#tasks.set(id, task);
      this.#change(task, 1);
    }
  }

  #loadOf(node: NodeId): Load {
    return this.#rooms.get(node)?.load ?? this.#loads.get(node) ?? emptyLoad;
  }

  #change(task: Task, by: 1 | -1): void {
    const { nodeId } = task;
    if (nodeId === undefined) return;
    const load = added(this.#loadOf(nodeId), task, by);
    const room = this.#rooms.get(nodeId);
    if (room !== undefined) this.#rooms.set(nodeId, { node: room.node, load });
    else if (load.tasks + load.nanoCpus + load.memory + load.ports.size > 0) this.#loads.set(nodeId, load);
    else this.#loads.delete(nodeId);
  }
}
