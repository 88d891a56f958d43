import { EngineError } from "../../../lib/errors.ts";
import { compareStates, hasEnded, type Task, type TaskId, type TaskState } from "../../../model/service.ts";
import type { Transaction } from "../../../store/store.ts";
import { detach } from "../../attachments.ts";
import { observe } from "../observe.ts";
import type { World } from "./world-testing.ts";

/** A container of a task, as its node has it. */
interface Container {
  readonly slot: string;
  state: TaskState;
  isStopping: boolean;
  /** Its node was taken for lost while it ran: somebody else may be in its place. */
  isStray: boolean;
}

const beats = 15_000; // milliseconds without one, and the node is down

/** A node as far as a leader can tell: it is told of its tasks, does what they say in its own time, and reports. */
export class ModelNode {
  readonly id: string;
  readonly containers = new Map<TaskId, Container>();
  readonly #world: World;
  #isConnected = true;
  /** What was on its way before the stream broke is lost. */
  #stream = 0;
  /** Reports come in their order. */
  #lastReport = 0;
  #isTold = false;

  constructor(id: string, world: World) {
    this.id = id;
    this.#world = world;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Rows of its tasks have changed. */
  tell(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#later(this.#world.between(1, this.#world.isSlow ? 1500 : 60), () => this.#look());
  }

  /** Nothing is heard of it. @param withContainers they end too: it has no power */
  cut(withContainers: boolean): void {
    this.#isConnected = false;
    this.#stream += 1;
    if (withContainers) for (const one of this.containers.values()) if (!hasEnded(one.state)) one.state = "failed";
    const stream = this.#stream;
    this.#world.clock.after(beats, () => {
      if (this.#stream !== stream) return;
      for (const one of this.containers.values()) one.isStray = true;
      this.#world.setNode(this.id, { state: "down" });
    });
  }

  heal(): void {
    if (this.#isConnected) return;
    this.#isConnected = true;
    this.#stream += 1;
    this.#isTold = false;
    this.#world.setNode(this.id, { state: "ready" });
    for (const id of this.containers.keys()) this.#report(id);
    this.tell();
  }

  /** Runs while the stream is the one of now. */
  #later(milliseconds: number, call: () => void): void {
    const stream = this.#stream;
    this.#world.clock.after(milliseconds, () => {
      if (this.#stream === stream) call();
    });
  }

  #look(): void {
    this.#isTold = false;
    const tasks = this.#world.rows.where("tasks", "node", this.id);
    const known = new Set(tasks.map(({ id }) => id));
    for (const [id, one] of this.containers) if (!known.has(id)) this.#remove(id, one);
    for (const task of tasks) if (compareStates(task.status.state, "assigned") >= 0) this.#follow(task);
  }

  /** Its task has no row any more. */
  #remove(id: TaskId, one: Container): void {
    if (hasEnded(one.state)) this.containers.delete(id);
    else this.#stop(id, one);
  }

  #follow(task: Task): void {
    const one = this.containers.get(task.id);
    if (compareStates(task.desired, "complete") > 0) {
      if (one !== undefined) this.#stop(task.id, one);
      else if (!hasEnded(task.status.state)) this.#become(task, "shutdown");
    } else if (one === undefined) {
      if (!hasEnded(task.status.state)) this.#prepare(task);
    } else if (task.desired !== "ready" && one.state === "ready") this.#start(task, one);
  }

  #become(task: Task, state: TaskState): Container {
    const slot = `${task.serviceId} ${task.slot === 0 ? this.id : task.slot}`;
    const one = this.containers.get(task.id) ?? { slot, state, isStopping: false, isStray: false };
    if (hasEnded(one.state) && one.state !== state) return one;
    one.state = state;
    this.containers.set(task.id, one);
    this.#report(task.id);
    return one;
  }

  #prepare(task: Task): void {
    this.#become(task, "preparing");
    this.#world.clock.after(this.#world.between(10, 3000), () => {
      const one = this.containers.get(task.id);
      if (one?.state !== "preparing" || one.isStopping) return;
      this.#become(task, this.#world.fails(task, "prepare") ? "rejected" : "ready");
      this.tell();
    });
  }

  #start(task: Task, one: Container): void {
    one.state = "starting";
    this.#world.started(one.slot);
    this.#world.clock.after(this.#world.between(10, 800), () => {
      if (one.state !== "starting" || one.isStopping) return;
      if (this.#world.fails(task, "start")) this.#become(task, "failed");
      else {
        this.#become(task, "running");
        if (task.desired === "complete") this.#run(task, one, this.#world.between(500, 20_000), "complete");
        else if (this.#world.fails(task, "run")) this.#run(task, one, this.#world.between(500, 30_000), "failed");
      }
    });
  }

  #run(task: Task, one: Container, milliseconds: number, end: TaskState): void {
    this.#world.clock.after(milliseconds, () => {
      if (one.state === "running" && !one.isStopping) this.#become(task, end);
    });
  }

  #stop(id: TaskId, one: Container): void {
    if (one.isStopping || hasEnded(one.state)) return;
    one.isStopping = true;
    this.#world.clock.after(this.#world.between(10, 6000), () => {
      if (!hasEnded(one.state)) one.state = "shutdown";
      one.isStopping = false;
      this.#report(id);
      this.tell();
    });
  }

  #report(id: TaskId): void {
    if (!this.#isConnected) return;
    const { clock } = this.#world;
    const at = Math.max(clock.now + this.#world.between(1, this.#world.isSlow ? 2500 : 80), this.#lastReport);
    this.#lastReport = at;
    const state = this.containers.get(id)?.state ?? "shutdown";
    this.#later(at - clock.now, () => {
      try {
        this.#world.commit((tx) => this.#say(tx, id, state));
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        this.#fail(id);
      }
    });
  }

  /** Addresses are claimed for what runs, and given back when it has ended. @throws {EngineError} when there is none */
  #say(tx: Transaction, id: TaskId, state: TaskState): void {
    if (hasEnded(state)) detach(tx, this.id, [id]);
    if (tx.get("tasks", id)?.nodeId !== this.id) return;
    const attachments = state === "running" ? this.#world.attach(tx, this.id, id) : [];
    const status = { state, at: 0, message: state, error: "" };
    observe(tx, this.id, id, { status, attachments }, this.#world.clock.now);
  }

  #fail(id: TaskId): void {
    const one = this.containers.get(id);
    if (one === undefined || hasEnded(one.state)) return;
    one.state = "failed";
    this.#report(id);
  }
}
