import { isDeepStrictEqual } from "node:util";
import { EngineError, isUnavailable } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import { type Container, isChecked } from "../model/container.ts";
import { compareStates, hasEnded, type Task, type TaskId, type TaskStatus } from "../model/service.ts";
import { type Snapshot, StoreError } from "../store/store.ts";
import { isRunning } from "./containers.ts";
import type { Containers, Engine, Volumes } from "./engine.ts";
import type { Parts } from "./parts.ts";
import { attachmentsIn, containerOf, lostNetwork, nodeFacts, portsOf, volumesOf } from "./task-container.ts";
import { filesOf } from "./task-files.ts";
import { TaskImages } from "./task-images.ts";

/** What tasks are made with. */
export interface TaskVerbs {
  readonly containers: Pick<Containers, "create" | "start" | "stop" | "remove">;
  readonly images: Pick<Engine["images"], "find" | "pull">;
  readonly volumes: Pick<Volumes, "create">;
}

const pause = { least: 1000, most: 10_000 } as const; // milliseconds between two attempts, doubling
/** What is said of a task whose health checks fail (moby daemon/cluster/executor/container/errors.go), before it is ended. */
const unhealthy = "dockerexec: unhealthy container";
const takenOff = "its container was taken off network ";

/** The work on one task: one thing after the other. */
interface Line {
  isDirty: boolean;
  isWorking: boolean;
  failures: number;
  timer?: NodeJS.Timeout;
}

/**
 * Makes this host's tasks containers, and says in their rows how they are. All is decided from the rows of tasks and
 * containers as they are now, so it goes on where a daemon before it ended; a task has one container, and containers of tasks
 * that are no more are removed.
 */
export class TaskRunner {
  readonly #parts: Parts;
  readonly #verbs: TaskVerbs;
  readonly #images: TaskImages;
  readonly #lines = new Map<TaskId, Line>();
  readonly #stopped = new AbortController();

  constructor(parts: Parts, verbs: TaskVerbs) {
    this.#parts = parts;
    this.#verbs = verbs;
    this.#images = new TaskImages(verbs.images, parts.replica);
    parts.replica.onFiles = () => {
      for (const { id } of this.#rows.list("tasks")) this.#wake(id);
    };
  }

  /** Needs to know which containers run: it follows `recover`. */
  start(): void {
    void this.#follow(this.#stopped.signal);
  }
  stop(): void {
    this.#stopped.abort();
    this.#images.stop();
    for (const { timer } of this.#lines.values()) clearTimeout(timer);
  }

  get #rows(): Snapshot {
    return this.#parts.store.snapshot();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const { snapshot, changed } of this.#parts.store.watch(signal)) {
      for (const { table, key } of changed) {
        // What it has written itself into a task's row is no news.
        if (table === "tasks" && before?.get(table, key)?.desired !== snapshot.get(table, key)?.desired)
          this.#wake(key);
        if (table !== "containers") continue;
        const taskId = (snapshot.get(table, key) ?? before?.get(table, key))?.taskId;
        if (taskId !== undefined) this.#wake(taskId);
      }
      before = snapshot;
    }
  }

  #wake(id: TaskId): void {
    const line = this.#lines.get(id) ?? { isDirty: false, isWorking: false, failures: 0 };
    this.#lines.set(id, line);
    line.isDirty = true;
    if (!isWanted(this.#rows.get("tasks", id))) this.#images.cancel(id);
    if (!line.isWorking) void this.#work(id, line);
  }

  async #work(id: TaskId, line: Line): Promise<void> {
    line.isWorking = true;
    clearTimeout(line.timer);
    while (line.isDirty && !this.#stopped.signal.aborted) {
      line.isDirty = false;
      const before = this.#rows.get("tasks", id)?.status;
      try {
        await this.#advance(id);
        line.failures = 0;
        line.isDirty ||= this.#rows.get("tasks", id)?.status !== before;
      } catch (err) {
        await this.#postpone(id, line, err);
      }
    }
    line.isWorking = false;
    if (this.#rows.get("tasks", id) === undefined) this.#lines.delete(id);
  }

  async #postpone(id: TaskId, line: Line, err: unknown): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#parts.log.warn({ err, task: id }, "a task could not go on yet");
    await this.#note(id, { error: (err as Error).message }).catch(() => {}); // the store may be what failed
    const wait = Math.min(pause.least * 2 ** line.failures, pause.most);
    line.failures += 1;
    line.timer = setTimeout(() => this.#wake(id), wait).unref();
  }

  /** One step of a task to where it shall be. @throws what passes with time */
  async #advance(id: TaskId): Promise<void> {
    const task = this.#rows.get("tasks", id);
    const [container] = this.#rows.where("containers", "task", id);
    if (task === undefined) return container && this.#remove(container);
    if (!isWanted(task)) return this.#end(task, container);
    if (hasEnded(task.status.state)) return container && this.#stop(container); // somebody has started it again
    try {
      await this.#step(task, container);
    } catch (error) {
      if (this.#stopped.signal.aborted || !isWanted(this.#rows.get("tasks", id))) return;
      if (error instanceof StoreError || isUnavailable(error)) throw error;
      const hasBegun = compareStates(task.status.state, "starting") >= 0;
      await this.#note(id, { state: hasBegun ? "failed" : "rejected", error: (error as Error).message });
    }
  }

  async #step(task: Task, container: Container | undefined): Promise<void> {
    const { id, desired, status } = task;
    switch (status.state) {
      case "accepted":
        return this.#note(id, { state: "preparing", message: "preparing", error: "" });
      case "preparing":
        if (container === undefined) await this.#prepare(task);
        return this.#note(id, { state: "ready", message: "prepared", error: "" });
      case "ready":
        if (compareStates(desired, "ready") > 0)
          await this.#note(id, { state: "starting", message: "starting", error: "" });
        return;
      case "starting":
      case "running":
        return this.#run(task, container);
      default:
        return this.#note(id, { state: "accepted", message: "accepted", error: "" });
    }
  }

  /** What is wrong with its words, secrets and configs shows before anything is made. */
  async #prepare(task: Task): Promise<void> {
    const { containers, volumes } = this.#verbs;
    const node = nodeFacts(this.#parts);
    filesOf(this.#parts, task);
    const wanted = volumesOf(task, node);
    const request = containerOf(task, node, this.#rows);
    await this.#images.need(task);
    for (const volume of wanted) await volumes.create({ driver: "local", options: {}, ...volume });
    failpoint("swarm.task.prepare.before-container");
    await containers.create(request);
    failpoint("swarm.task.prepare.after-container");
  }

  async #run(task: Task, container: Container | undefined): Promise<void> {
    const { id, status } = task;
    if (container === undefined) return this.#note(id, { state: "failed", error: "task: its container was removed" });
    if (container.state.status === "created") return this.#start(container);
    if (container.state.status === "exited") return this.#note(id, endOf(container, troubleIn(status.error)));
    if (!isRunning(container)) return; // it is being removed
    const { health } = container.state;
    const trouble = troubleOf(task, container, this.#rows);
    if (trouble !== undefined) {
      await this.#note(id, { error: trouble }, attachmentsIn(this.#rows, container.id));
      return this.#stop(container);
    }
    const seen = { container: seenOf(container), ports: portsOf(task, this.#rows, container.id) };
    const isUp = !isChecked(container.spec) || health === "healthy" || status.state === "running";
    const change = isUp ? ({ state: "running", message: "started", error: "", ...seen } as const) : seen;
    await this.#note(id, change, attachmentsIn(this.#rows, container.id));
  }

  async #start(container: Container): Promise<void> {
    try {
      failpoint("swarm.task.start.before-container");
      await this.#verbs.containers.start(container.id);
      failpoint("swarm.task.start.after-container");
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.class === "not-modified") return; // somebody was quicker
      throw new EngineError(error.class, `starting container failed: ${error.message}`, { cause: error });
    }
  }

  /** Its container stays as long as its row, for those who look at its logs; unless nobody shall. */
  async #end({ id, desired, status }: Task, container: Container | undefined): Promise<void> {
    if (container !== undefined) await this.#stop(container);
    const ended = container && this.#rows.get("containers", container.id);
    const seen = ended === undefined ? {} : { container: seenOf(ended) };
    if (ended !== undefined && desired === "remove") await this.#remove(ended);
    failpoint("swarm.task.end.after-container");
    if (!hasEnded(status.state)) await this.#note(id, { state: "shutdown", message: "shutdown", error: "", ...seen });
  }

  /** With its grace period. */
  async #stop(container: Container): Promise<void> {
    if (!isRunning(container)) return;
    await this.#verbs.containers.stop(container.id, {}).catch(unlessDone);
  }

  async #remove({ id }: Container): Promise<void> {
    await this.#verbs.containers.remove(id, { force: true, volumes: true, link: false }).catch(unlessDone);
  }

  /** A task only goes to the right; the addresses that it has had are still shown when it has ended. */
  async #note(id: TaskId, change: Partial<TaskStatus>, attachments?: Task["attachments"]): Promise<void> {
    const at = Date.now();
    await this.#parts.store.update((tx) => {
      const task = tx.get("tasks", id);
      if (task === undefined) return;
      const status = { ...task.status, ...change };
      const next = { ...task, status, attachments: attachments ?? task.attachments };
      if (compareStates(status.state, task.status.state) < 0 || isDeepStrictEqual(next, task)) return;
      tx.put("tasks", { ...next, status: { ...status, at } });
    });
    failpoint("swarm.task.note");
  }
}

/** True as long as it shall run, now or later. */
const isWanted = (task: Task | undefined) => task !== undefined && compareStates(task.desired, "shutdown") < 0;

const seenOf = ({ id, state }: Container) => ({ id, pid: state.pid, exitCode: state.exitCode });

/** Why a task's container that runs is to be ended, though the task is wanted. */
function troubleOf(task: Task, container: Container, rows: Snapshot): string | undefined {
  const lost = lostNetwork(task, container, rows);
  if (lost !== undefined) return `${takenOff}${rows.get("networks", lost)?.spec.name ?? lost}`;
  return isChecked(container.spec) && container.state.health === "unhealthy" ? unhealthy : undefined;
}
const troubleIn = (error: string) => (error === unhealthy || error.startsWith(takenOff) ? error : undefined);

/**
 * With swarmkit's words (moby daemon/cluster/executor/container/controller.go, exitError).
 * @param trouble why it was ended, if not because it was told to
 */
function endOf(container: Container, trouble: string | undefined): Partial<TaskStatus> {
  const { exitCode } = container.state;
  const seen = { container: seenOf(container) };
  if (exitCode === 0 && trouble === undefined) return { state: "complete", message: "finished", error: "", ...seen };
  const exit = exitCode === 0 ? "task" : `task: non-zero exit (${exitCode})`;
  return { state: "failed", error: trouble === undefined ? exit : `${exit}: ${trouble}`, ...seen };
}

/** It is so already. */
function unlessDone(error: unknown): void {
  const isDone = error instanceof EngineError && ["not-modified", "not-found"].includes(error.class);
  if (!isDone) throw error;
}
