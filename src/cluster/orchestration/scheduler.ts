import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import type { Task, TaskId } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
import { readerOf } from "./constraints.ts";
import { explain, type Filter, filtersOf } from "./filters.ts";
import { added, type Room, templateOf } from "./rooms.ts";

/** Where tasks go; the reason is for those that go nowhere. */
export interface Placement {
  readonly nodes: ReadonlyMap<TaskId, NodeId>;
  readonly reason: string;
}

/** So many failures of a service on a node in so long put the node last (moby/swarmkit manager/scheduler). */
export const failing = { count: 5, within: 300_000 } as const; // milliseconds

/**
 * Places tasks that are made from one template. @param rows of the tasks' networks
 * @param failures how often tasks of it failed on a node lately
 */
export function schedule(
  tasks: readonly Task[],
  rows: Snapshot,
  rooms: Iterable<Room>,
  failures: ReadonlyMap<NodeId, number> = new Map(),
): Placement {
  const nodes = new Map<TaskId, NodeId>();
  const [first] = tasks;
  if (first === undefined) return { nodes, reason: "" };
  const all = [...rooms];
  const filters = filtersOf(first, rows);
  const order = { service: first.serviceId, template: templateOf(first), failures };
  const readers = first.template.placement.spread.flatMap((key) => readerOf(key) ?? []);
  const tree = new Branch(all, { filters, order, readers });
  for (const task of tasks) {
    const node = tree.take(task);
    if (node === undefined) break;
    nodes.set(task.id, node);
  }
  return { nodes, reason: nodes.size === tasks.length ? "" : noSuitableNode(filters, tree.rooms) };
}

/** @returns Docker's text for a task that fits on none of the nodes */
function noSuitableNode(filters: readonly Filter[], rooms: Iterable<Room>): string {
  const why = explain(filters, rooms);
  return why === "" ? "no suitable node" : `no suitable node (${why})`;
}

/** By what nodes are compared. */
interface Order {
  readonly service: string;
  readonly template: string;
  readonly failures: ReadonlyMap<NodeId, number>;
}

/** The lower, the better, the first number first: failures if they are many, tasks of the template, of the service, tasks. */
function rankOf({ node, load }: Room, { service, template, failures }: Order): readonly number[] {
  const failed = failures.get(node.id) ?? 0;
  const { byService } = load;
  return [failed < failing.count ? 0 : failed, byService.get(template) ?? 0, byService.get(service) ?? 0, load.tasks];
}
function isBetter(a: Room, b: Room, order: Order): boolean {
  const [ranks, others] = [rankOf(a, order), rankOf(b, order)];
  const at = ranks.findIndex((rank, n) => rank !== others[n]);
  return at < 0 ? a.node.id < b.node.id : (ranks[at] as number) < (others[at] as number);
}

interface Spread {
  readonly filters: readonly Filter[];
  readonly order: Order;
  /** Tasks are spread over what the first says of the nodes, then, where that is the same, the next. */
  readonly readers: readonly ((node: ClusterNode) => string)[];
}

/** The nodes that have the same values of the keys so far. */
class Branch {
  readonly #spread: Spread;
  readonly #branches: readonly Branch[];
  /** Without branches: the nodes, and those that still fit. */
  readonly #rooms = new Map<NodeId, Room>();
  readonly #fitting: Set<NodeId>;
  /** Tasks of the service. */
  #tasks: number;

  constructor(rooms: readonly Room[], spread: Spread) {
    this.#spread = spread;
    const { filters, order } = spread;
    const [read, ...readers] = spread.readers;
    this.#tasks = rooms.reduce((sum, { load }) => sum + (load.byService.get(order.service) ?? 0), 0);
    const byValue = read === undefined ? [] : [...Map.groupBy(rooms, ({ node }) => read(node))];
    this.#branches = byValue
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, own]) => new Branch(own, { filters, order, readers }));
    if (read === undefined) for (const room of rooms) this.#rooms.set(room.node.id, room);
    const fitting = [...this.#rooms.values()].filter((room) => filters.every(({ fits }) => fits(room)));
    this.#fitting = new Set(fitting.map(({ node }) => node.id));
  }

  /** The nodes with the tasks that they were given. */
  get rooms(): Room[] {
    return [...this.#rooms.values(), ...this.#branches.flatMap(({ rooms }) => rooms)];
  }

  /** @returns the node that gets the task: in the branch with the fewest, the best; undefined when it fits on none */
  take(task: Task): NodeId | undefined {
    const node = this.#branches.length > 0 ? this.#takeBelow(task) : this.#takeHere(task);
    if (node !== undefined) this.#tasks += 1;
    return node;
  }

  #takeBelow(task: Task): NodeId | undefined {
    for (const branch of this.#branches.toSorted((a, b) => a.#tasks - b.#tasks)) {
      const node = branch.take(task);
      if (node !== undefined) return node;
    }
    return undefined;
  }

  #takeHere(task: Task): NodeId | undefined {
    const { filters, order } = this.#spread;
    let best: Room | undefined;
    for (const id of this.#fitting) {
      const room = this.#rooms.get(id) as Room;
      if (best === undefined || isBetter(room, best, order)) best = room;
    }
    if (best === undefined) return undefined;
    const { node } = best;
    const taken = { node, load: added(best.load, placed(task, node.id)) };
    this.#rooms.set(node.id, taken);
    if (!filters.every(({ fits }) => fits(taken))) this.#fitting.delete(node.id);
    return node.id;
  }
}

/** The task on a node. */
export const placed = (
  task: Task,
  nodeId: NodeId,
  now = task.status.at,
  message = "scheduler assigned task to node",
): Task => ({
  ...task,
  nodeId,
  status: { state: "assigned", at: now, message, error: "" },
});
