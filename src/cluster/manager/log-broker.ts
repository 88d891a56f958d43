import type { MessageInitShape } from "@bufbuild/protobuf";
import { BoundedQueue } from "../../lib/bounded-queue.ts";
import { notFound, rpcError, unavailable } from "../../lib/errors.ts";
import type { NodeId } from "../../model/cluster.ts";
import { compareStates, hasEnded, type ServiceId, type Task, type TaskId } from "../../model/service.ts";
import type { Snapshot, Store } from "../../store/store.ts";
import type { LogsWantedSchema, PublishLogsRequest } from "../gen/control_pb.ts";
import { newSwarmId } from "../identity/names.ts";
import type { LoggedLine, TaskLogOptions } from "../calls/task-logs.ts";

export type Wanted = MessageInitShape<typeof LogsWantedSchema>;

/** Whose logs: those of a service's tasks, also of tasks to come while it is followed, or of one task. */
export type LogSelection = { readonly service: ServiceId } | { readonly task: TaskId };
/** A line of a task's log, and whose it is. */
export interface TaskLine extends LoggedLine {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId;
  readonly nodeId: NodeId;
}

export interface LogBrokerParts {
  readonly store: Store;
  readonly self: NodeId;
  /** Of this manager's control port: where nodes bring the logs. */
  readonly address: string;
  /** Tells a node whose stream this manager has. @returns false when it has not */
  readonly tell: (node: NodeId, wanted: Wanted) => boolean;
  /** Asks the manager that has the node's stream to tell it. */
  readonly ask: (manager: string, node: NodeId, wanted: Wanted) => Promise<unknown>;
  /** @returns what calls it off */
  readonly after: (milliseconds: number, call: () => void) => () => void;
}

const most = 1 << 20; // bytes that wait for one reader
const lineSize = 64; // bytes that a line takes besides what is in it: empty ones fill the queue, too
const mostTroubles = 100; // of one reader
const longestTrouble = 1000; // characters
const patience = 5000; // milliseconds until a node that was asked has begun to answer

/** A node that was asked, and what calls off that it is given up. */
interface Awaited {
  readonly callOff: () => void;
}
/** A reader of logs, and who brings them. */
interface Subscription {
  readonly id: string;
  readonly queue: BoundedQueue<TaskLine>;
  readonly options: TaskLogOptions;
  /** Tasks that were asked for, and the calls of each node that are awaited. */
  readonly asked: Map<TaskId, { readonly serviceId: ServiceId; readonly nodeId: NodeId }>;
  readonly awaited: Map<NodeId, Set<Awaited>>;
  /** Calls that are awaited, or under way. */
  open: number;
  /** True when nobody more will be asked. */
  isComplete: boolean;
  readonly troubles: Set<string>;
  readonly ended: AbortController;
}

/**
 * Gathers what tasks all over the swarm have said (after swarmkit's log broker): a word goes down the streams of the tasks'
 * nodes, and each brings its lines by a call of its own to the manager that has the reader. A node is heard on tasks that are
 * its own and that it was asked for, and waits while the reader does not read.
 */
export class LogBroker {
  readonly #parts: LogBrokerParts;
  readonly #subscriptions = new Map<string, Subscription>();

  constructor(parts: LogBrokerParts) {
    this.#parts = parts;
  }

  /**
   * The lines as they come: those that there are, or, when it is followed, until the reader or the tasks are gone.
   * @throws {EngineError} system at the end, with swarmkit's text, when some could not be had
   */
  async *read(selection: LogSelection, options: TaskLogOptions, signal: AbortSignal): AsyncIterable<TaskLine> {
    const one: Subscription = {
      id: newSwarmId(),
      queue: new BoundedQueue(most),
      options,
      asked: new Map(),
      awaited: new Map(),
      open: 0,
      isComplete: false,
      troubles: new Set(),
      ended: new AbortController(),
    };
    this.#subscriptions.set(one.id, one);
    const stop = () => one.queue.end();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    void this.#askAll(selection, one).catch((error: unknown) => this.#giveUp(one, (error as Error).message));
    try {
      for await (const lines of one.queue.batches()) yield* lines;
    } finally {
      signal.removeEventListener("abort", stop);
      this.#subscriptions.delete(one.id);
      one.ended.abort();
      for (const { callOff } of [...one.awaited.values()].flatMap((all) => [...all])) callOff();
    }
    if (one.troubles.size > 0 && !signal.aborted)
      throw rpcError(
        "Unknown",
        `warning: incomplete log stream. some logs could not be retrieved for the following reasons: ${[...one.troubles].join(", ")}`,
      );
  }

  /** What a node brings. @throws {EngineError} not-found when nobody reads it (any more), or the node was not asked */
  async publish(node: NodeId, requests: AsyncIterable<PublishLogsRequest>): Promise<void> {
    const messages = requests[Symbol.asyncIterator]();
    const first = await messages.next();
    const one = this.#subscriptions.get(first.done === true ? "" : first.value.subscriptionId);
    const [awaited] = one?.awaited.get(node) ?? [];
    if (one === undefined || awaited === undefined) throw notFound("nobody has asked this node for logs");
    one.awaited.get(node)?.delete(awaited);
    awaited.callOff();
    const gone = new Promise<"gone">((resolve) =>
      one.ended.signal.addEventListener("abort", () => resolve("gone"), { once: true }),
    );
    try {
      for (let next: IteratorResult<PublishLogsRequest> | "gone" = first; ; ) {
        if (next === "gone") throw unavailable("the reader is gone");
        if (next.done === true) return;
        await this.#take(one, node, next.value);
        next = await Promise.race([messages.next(), gone]);
      }
    } catch (error) {
      one.troubles.add(`node ${node} disconnected unexpectedly`);
      throw error;
    } finally {
      this.#close(one);
    }
  }

  async #take(one: Subscription, node: NodeId, { lines, troubles }: PublishLogsRequest): Promise<void> {
    for (const trouble of troubles.slice(0, Math.max(mostTroubles - one.troubles.size, 0)))
      one.troubles.add(trouble.slice(0, longestTrouble));
    for (const { taskId, stderr, time, data } of lines) {
      const task = one.asked.get(taskId);
      if (task?.nodeId !== node) continue;
      const size = lineSize + time.length + data.length;
      await one.queue.push({ ...task, taskId, stream: stderr ? "stderr" : "stdout", time, data }, size);
    }
  }

  /** Asks for what there is, and, when it is followed, for what comes. */
  async #askAll(selection: LogSelection, one: Subscription): Promise<void> {
    const { store } = this.#parts;
    if (one.options.follow)
      for await (const { snapshot, changed } of store.watch(one.ended.signal)) {
        if (!changed.some(({ table }) => table === "tasks" || table === "services")) continue;
        this.#askFor(tasksIn(snapshot, selection), one, snapshot);
        if (!mayComeMore(snapshot, selection)) break;
      }
    else {
      const rows = store.snapshot();
      const tasks = tasksIn(rows, selection);
      this.#askFor(tasks, one, rows);
      const waiting = tasks.filter(
        ({ nodeId, desired }) => nodeId === undefined && compareStates(desired, "running") <= 0,
      );
      for (const { id } of waiting) one.troubles.add(`task ${id} has not been scheduled`);
    }
    one.isComplete = true;
    this.#look(one);
  }

  /** Containers that are not made yet have said nothing. */
  #askFor(tasks: readonly Task[], one: Subscription, rows: Snapshot): void {
    const news = new Map<NodeId, TaskId[]>();
    for (const { id, nodeId, serviceId, status } of tasks) {
      if (nodeId === undefined || status.container === undefined || one.asked.has(id)) continue;
      one.asked.set(id, { serviceId, nodeId });
      news.set(nodeId, [...(news.get(nodeId) ?? []), id]);
    }
    for (const [node, ids] of news) this.#ask(node, ids, one, rows);
  }

  #ask(node: NodeId, taskIds: readonly TaskId[], one: Subscription, rows: Snapshot): void {
    const { self, address, tell, ask, after } = this.#parts;
    const { follow, stdout, stderr, since, tail } = one.options;
    const bound = tail === undefined ? {} : { tail: BigInt(tail) };
    const wanted: Wanted = {
      subscriptionId: one.id,
      manager: address,
      taskIds: [...taskIds],
      follow,
      stdout,
      stderr,
      since: BigInt(since),
      ...bound,
    };
    one.open += 1;
    const all = one.awaited.get(node) ?? new Set();
    const failed = () => {
      if (!all.delete(awaited)) return; // it has come
      awaited.callOff();
      one.troubles.add(`node ${node} is not available`);
      this.#close(one);
    };
    const awaited: Awaited = { callOff: after(patience, failed) };
    one.awaited.set(node, all.add(awaited));
    const { holder = "", state } = rows.get("nodes", node)?.status ?? {};
    const manager = rows.get("nodes", holder)?.manager?.address;
    if (state !== "ready" || manager === undefined) failed();
    else if (holder !== self) void ask(manager, node, wanted).catch(failed);
    else if (!tell(node, wanted)) failed();
  }

  #giveUp(one: Subscription, reason: string): void {
    if (one.ended.signal.aborted) return;
    one.troubles.add(reason);
    one.queue.end();
  }

  #close(one: Subscription): void {
    one.open -= 1;
    this.#look(one);
  }
  #look({ isComplete, open, queue }: Subscription): void {
    if (isComplete && open === 0) queue.end();
  }
}

function tasksIn(rows: Snapshot, selection: LogSelection): readonly Task[] {
  if ("service" in selection) return rows.where("tasks", "service", selection.service);
  const task = rows.get("tasks", selection.task);
  return task === undefined ? [] : [task];
}

/** A task has one container; a service gets new ones as long as it is there. */
function mayComeMore(rows: Snapshot, selection: LogSelection): boolean {
  if ("service" in selection) return rows.get("services", selection.service) !== undefined;
  const task = rows.get("tasks", selection.task);
  return task !== undefined && task.status.container === undefined && !hasEnded(task.status.state);
}
