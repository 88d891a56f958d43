import { fromBinary } from "@bufbuild/protobuf";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { conflict, EngineError, invalid, system } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import { code, type ContainerdClient, detailsOf, hasCode, snapshotter, unlessMissing } from "./containerd/client.ts";
import { ProcessDetailsSchema } from "./containerd/gen/runc_pb.ts";
import { type Process, Status } from "./containerd/gen/task_pb.ts";
import type { Mount } from "./containerd/gen/types_pb.ts";
import { ExecRunner } from "./exec-runner.ts";
import { containerFiles } from "./files/container-files.ts";
import { ContainerRoots } from "./files/roots.ts";
import { openView } from "./files/view.ts";
import type { ImageStore } from "./images/image-store.ts";
import type { LoggerClient } from "./logs/logger-client.ts";
import { readLogs, type Writing } from "./logs/read-logs.ts";
import { OutputQueue } from "./output-queue.ts";
import { copyFromLayers } from "./root-fs.ts";
import type { ExitEvent, FoundContainer, Processes, ProcessStreams, StartRequest, Usage } from "./runtime.ts";
import { buildSpec } from "./spec/build-spec.ts";
import { resourcesOf } from "./spec/resources.ts";
import { findUser, layersOf } from "./spec/user.ts";
import { fifosOf, holdFifos, makeFifos, namesIn, outputFifos, removeFifos, Stdin } from "./stdio.ts";
import { json, runc, timeText } from "./tasks.ts";
import { readUsage } from "./usage.ts";

export interface ProcessParts {
  readonly client: ContainerdClient;
  readonly logger: LoggerClient;
  readonly images: ImageStore;
  readonly dataRoot: string;
  readonly execRoot: string;
}
const copyPatience = 5000; // milliseconds that a start waits for copies from and to the container's layers
const gcRoot = () => ({ "containerd.io/gc.root": new Date().toISOString() });
const mostAsked = 10; // times that containerd is asked again for a task that it cannot tell of
const taskStatus: Readonly<Partial<Record<Status, NonNullable<FoundContainer["task"]>["status"]>>> = {
  [Status.CREATED]: "created",
  [Status.RUNNING]: "running",
  [Status.PAUSED]: "paused",
  [Status.PAUSING]: "paused",
  [Status.STOPPED]: "stopped",
};

/** Where containerd cannot tell which execs there are, any of these may be: their ends come as events, like others'. */
const noneIfEnded = (left: string[]) => (error: unknown) =>
  error instanceof EngineError && error.class === "conflict" ? [] : left;

/** Containers' processes through containerd, their standard streams through FIFOs. */
export class ContainerProcesses implements Processes {
  readonly #parts: ProcessParts;
  readonly #fifoDirectory: string;
  readonly #roots = new Map<ContainerId, Mount[]>();
  readonly #stdins = new Map<ContainerId, Stdin>();
  readonly #running = new Set<ContainerId>();
  readonly #reaping = new Map<ContainerId, Promise<void>>();
  readonly #exitListeners = new Set<(event: ExitEvent) => void>();
  readonly #execs: ExecRunner;
  readonly #files = new ContainerRoots();

  constructor(parts: ProcessParts) {
    this.#parts = parts;
    this.#fifoDirectory = join(parts.execRoot, "io");
    this.#execs = new ExecRunner(parts.client, this.#fifoDirectory);
  }

  async create(container: Container): Promise<void> {
    const { client, images } = this.#parts;
    const parent = await images.chainOf(container.spec.imageId);
    failpoint("runtime.create.before-snapshot");
    const { mounts } = await client.snapshots.prepare({ snapshotter, key: container.id, parent, labels: gcRoot() });
    failpoint("runtime.create.after-snapshot");
    this.#roots.set(container.id, mounts);
  }

  async remove(id: ContainerId): Promise<void> {
    const { client } = this.#parts;
    if ((await this.#taskOf(id)) !== undefined) await this.#endTask(id);
    else await this.#letGo(id);
    await this.#files.end(id, 0, conflict(`container ${id} was removed meanwhile`));
    failpoint("runtime.remove.before-container");
    await unlessMissing(client.containers.delete({ id }));
    failpoint("runtime.remove.before-snapshot");
    await unlessMissing(client.snapshots.remove({ snapshotter, key: id }));
    failpoint("runtime.remove.after-snapshot");
    this.#roots.delete(id);
  }

  async populate(id: ContainerId, target: string, into: string): Promise<void> {
    for (const mount of await this.#root(id)) copyFromLayers(mount, target, into);
  }

  async #root(id: ContainerId): Promise<Mount[]> {
    const known = this.#roots.get(id) ?? (await this.#parts.client.snapshots.mounts({ snapshotter, key: id })).mounts;
    this.#roots.set(id, known);
    return known;
  }

  async start(request: StartRequest): Promise<number> {
    const { client, logger } = this.#parts;
    const { id, spec } = request.container;
    const rootfs = await this.#root(id);
    await this.#files.end(id, copyPatience, conflict(`container ${id} was started meanwhile`));
    const oci = buildSpec(request, rootfs.flatMap(layersOf));
    const fifos = makeFifos(this.#fifoDirectory, id, { tty: spec.tty, stdin: spec.openStdin });
    await Promise.all([this.#record(id, oci), this.#openLog(request.container)]);
    if (fifos.stdin !== "") this.#stdins.set(id, new Stdin(fifos.stdin));
    failpoint("runtime.start.before-task");
    try {
      await client.tasks.create({ containerId: id, rootfs, ...fifos, terminal: spec.tty });
      failpoint("runtime.start.before-start");
      this.#running.add(id);
      const { pid } = await client.tasks.start({ containerId: id });
      failpoint("runtime.start.after-start");
      return pid;
    } catch (error) {
      this.#running.delete(id);
      await unlessMissing(client.tasks.delete({ containerId: id })).catch(() => {}); // it never ran: containerd says so
      await logger.ask({ verb: "close", id });
      await this.#letGo(id);
      throw invalid(`failed to create task for container: ${detailsOf(error)}`);
    }
  }

  /** containerd's record, with the specification of this run. */
  async #record(id: ContainerId, oci: object): Promise<void> {
    const { containers } = this.#parts.client;
    const spec = json("Spec", oci);
    try {
      await containers.create({ container: { id, snapshotter, snapshotKey: id, runtime: runc, spec } });
    } catch (error) {
      if (!hasCode(error, code.exists)) throw error;
      await containers.update({ container: { id, spec }, updateMask: { paths: ["spec"] } });
    }
  }

  async #openLog({ id, spec }: Container): Promise<void> {
    const { stdout, stderr } = fifosOf(this.#fifoDirectory, id, { tty: spec.tty, stdin: false });
    await this.#parts.logger.ask({ verb: "open", id, stdout, ...(stderr !== "" && { stderr }), log: this.logPath(id) });
  }

  /** Kills every process of a container and deletes its task. */
  async #endTask(id: ContainerId): Promise<void> {
    await unlessMissing(this.#parts.client.tasks.kill({ containerId: id, signal: 9, all: true })).catch(ended);
    await this.reap(id);
  }

  /** The exit's follow-up and a removal may both want it: the shim is told once. */
  reap(id: ContainerId): Promise<void> {
    const reaping = this.#reaping.get(id) ?? this.#reap(id).finally(() => this.#reaping.delete(id));
    this.#reaping.set(id, reaping);
    return reaping;
  }

  async #reap(id: ContainerId): Promise<void> {
    // Whatever becomes of the logger meanwhile: what the FIFOs hold would be gone with the last who has them open.
    using _held = holdFifos(this.#fifoDirectory, id);
    // Only the deletion waits until the shim has passed on the last output.
    const deleted = await this.#deleteTask(id);
    this.#running.delete(id);
    // Without a task nothing came from it, and who attached before the start is waiting for what will come.
    if (deleted) await this.#letGo(id);
  }

  async #deleteTask(id: ContainerId): Promise<boolean> {
    for (let tries = 0; tries < 1000; tries += 1) {
      try {
        return (await unlessMissing(this.#parts.client.tasks.delete({ containerId: id }))) !== undefined;
      } catch (error) {
        if (!stillRuns(error)) throw error;
      }
      await sleep(10);
    }
    throw system(`container ${id} did not end`);
  }

  async #letGo(id: ContainerId): Promise<void> {
    this.#stdins.get(id)?.destroy();
    this.#stdins.delete(id);
    const { logger } = this.#parts;
    const held = await logger.ask({ verb: "close", id });
    const [stdout, stderr] = outputFifos(this.#fifoDirectory, id);
    // A logger that was started again has not read them.
    if (held.length === 0 && stdout !== undefined) {
      await logger.ask({ verb: "open", id, stdout, ...(stderr !== undefined && { stderr }), log: this.logPath(id) });
      await logger.ask({ verb: "close", id });
    }
    removeFifos(this.#fifoDirectory, id);
  }

  async kill(id: ContainerId, signal: number, execId = ""): Promise<void> {
    await this.#whileRunning(id, this.#parts.client.tasks.kill({ containerId: id, execId, signal }));
  }
  /** A shim that starts an exec while the container stands still waits for the exec, and answers nobody: not who would end the pause, either. */
  async pause(id: ContainerId): Promise<void> {
    const pause = () => this.#whileRunning(id, this.#parts.client.tasks.pause({ containerId: id }));
    await this.#execs.whileNoneStarts(id, pause);
  }
  async resume(id: ContainerId): Promise<void> {
    await this.#whileRunning(id, this.#parts.client.tasks.resume({ containerId: id }));
  }
  async resize(id: ContainerId, width: number, height: number, execId = ""): Promise<void> {
    await this.#whileRunning(id, this.#parts.client.tasks.resizePty({ containerId: id, execId, width, height }));
  }
  async update({ id, spec }: Container): Promise<void> {
    const resources = json("LinuxResources", resourcesOf(spec));
    await this.#whileRunning(id, this.#parts.client.tasks.update({ containerId: id, resources }));
  }

  async #whileRunning<R>(id: ContainerId, call: Promise<R>): Promise<R> {
    try {
      return await call;
    } catch (error) {
      if (hasCode(error, code.notFound, code.failedPrecondition)) throw conflict(`container ${id} is not running`);
      throw system(detailsOf(error), error);
    }
  }

  async attach({ id, spec }: Container): Promise<ProcessStreams> {
    const output = new OutputQueue(() => connection.resume());
    const connection = await this.#parts.logger.follow(
      id,
      (stream, data) => {
        if (!output.push({ stream, data: Buffer.from(data) })) connection.pause();
      },
      () => output.end(),
    );
    let closing = false;
    const closeStdin = () => {
      if (!spec.openStdin || !spec.stdinOnce || closing) return;
      closing = true;
      void this.#closeStdin(id);
    };
    return {
      output,
      write: async (data) => (await this.#stdinOf(id, spec.openStdin))?.write(data),
      closeStdin,
      close: () => {
        connection.destroy();
        output.end();
      },
    };
  }

  /** What a client types before the start waits until there is somebody to read it. */
  async #stdinOf(id: ContainerId, open: boolean): Promise<Stdin | undefined> {
    if (!open) return undefined;
    const { stdin } = fifosOf(this.#fifoDirectory, id, { tty: false, stdin: true });
    for (let tries = 0; tries < 200; tries += 1) {
      const known = this.#stdins.get(id);
      if (known !== undefined) return known;
      if (this.#running.has(id)) {
        const opened = new Stdin(stdin);
        this.#stdins.set(id, opened);
        return opened;
      }
      await sleep(50);
    }
    return undefined;
  }

  async #closeStdin(id: ContainerId): Promise<void> {
    const stdin = await this.#stdinOf(id, true);
    await stdin?.close();
    // The shim holds an end of its own: it has to be told, once the process runs.
    for (let tries = 0; tries < 200; tries += 1) {
      try {
        await this.#parts.client.tasks.closeIO({ containerId: id, stdin: true });
        return;
      } catch (error) {
        if (!hasCode(error, code.notFound, code.failedPrecondition) || !this.#running.has(id)) return;
        await sleep(10);
      }
    }
  }

  async exec(...[container, spec, detached]: Parameters<Processes["exec"]>): ReturnType<Processes["exec"]> {
    return this.#execs.run(container, spec, (await this.#root(container.id)).flatMap(layersOf), detached);
  }

  logs(...[container, options, signal]: Parameters<Processes["logs"]>): ReturnType<Processes["logs"]> {
    const { id } = container;
    const writing: Writing = {
      done: () => !this.#running.has(id),
      onDone: (tell) => this.onExit((event) => event.containerId === id && event.execId === undefined && tell()),
    };
    return readLogs(this.logPath(id), options, writing, signal);
  }

  async pids(id: ContainerId): Promise<number[]> {
    return (await this.#listPids(id)).map((p) => p.pid);
  }

  async execs(id: ContainerId): Promise<string[]> {
    const infos = (await this.#listPids(id)).flatMap(({ info }) => info ?? []);
    return infos.map(({ value }) => fromBinary(ProcessDetailsSchema, value).execId).filter((execId) => execId !== "");
  }

  async #listPids(id: ContainerId) {
    return (await this.#whileRunning(id, this.#parts.client.tasks.listPids({ containerId: id }))).processes;
  }

  usage = async (id: ContainerId): Promise<Usage> => readUsage(id);

  async files(...[container, mounts, signal]: Parameters<Processes["files"]>): ReturnType<Processes["files"]> {
    const { id, spec } = container;
    const [layer] = await this.#root(id);
    if (layer === undefined) throw system(`container ${id} has no root file system`);
    const point = join(this.#parts.execRoot, "root");
    const lease = this.#files.take(id, () => openView(point, layer, mounts, { readOnly: spec.readOnlyRoot }));
    return containerFiles(lease, (user) => findUser(layersOf(layer), user, []).ids, signal);
  }

  async #taskOf(id: ContainerId) {
    return (await unlessMissing(this.#parts.client.tasks.get({ containerId: id })))?.process;
  }

  /** containerd gives each shim two seconds to say how its task is, and tells of none that is slower, as on a busy host. */
  async #tasks(): Promise<Process[]> {
    const { tasks } = await this.#parts.client.tasks.list({});
    const told = await Promise.all(tasks.map((task) => this.#told(task)));
    return told.filter((task) => task !== undefined);
  }
  async #told(task: Process): Promise<Process | undefined> {
    let now: Process | undefined = task;
    for (let tries = 0; now?.status === Status.UNKNOWN && tries < mostAsked; tries += 1)
      now = await this.#taskOf(task.id);
    return now;
  }

  /** Everything that containerd has of ours; output of running containers is taken up again where the logger lost it. */
  async list(): Promise<FoundContainer[]> {
    const { client } = this.#parts;
    const [{ containers }, tasks, keys] = await Promise.all([
      client.containers.list({}),
      this.#tasks(),
      this.#layers(),
    ]);
    const byId = new Map(tasks.map((t) => [t.containerId === "" ? t.id : t.containerId, t]));
    const ids = new Set([...containers.map((c) => c.id), ...keys]);
    return [...ids].map((id): FoundContainer => {
      const task = byId.get(id);
      if (task === undefined) return { id };
      const status = taskStatus[task.status] ?? "running"; // nobody has said that it ended
      if (status === "running" || status === "paused") this.#running.add(id);
      return { id, task: { status, pid: task.pid, exitCode: task.exitStatus, exitedAt: timeText(task.exitedAt) } };
    });
  }

  /** Ids of writable layers. */
  async #layers(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { info } of this.#parts.client.snapshots.list({ snapshotter, filters: ["kind==active"] }))
      keys.push(...info.map((i) => i.name).filter((name) => /^[0-9a-f]{64}$/.test(name)));
    return keys;
  }

  /**
   * Execs of a daemon that was killed, before others are started. A shim that is about to open an exec's FIFOs waits for who reads
   * them, and answers nobody meanwhile; when it answers, the exec runs or has ended.
   */
  async takeUpExecs(): Promise<void> {
    const [{ containers }, layers] = await Promise.all([this.#parts.client.containers.list({}), this.#layers()]);
    const own = new Set([...containers.map(({ id }) => id), ...layers]);
    const left = namesIn(this.#fifoDirectory).filter((name) => !own.has(name));
    if (left.length === 0) return;
    this.#execs.takeUp(left);
    const running = (await this.#tasks()).filter(({ status }) => status !== Status.STOPPED);
    const alive = await Promise.all(running.map(({ id }) => this.execs(id).catch(noneIfEnded(left))));
    this.#execs.keepOnly(new Set(alive.flat()));
  }

  /** After the logger came back: it holds nothing yet. @throws when it could not be done for one; the others' it is */
  async reopenLogs(): Promise<void> {
    const held = new Set(await this.#parts.logger.ask({ verb: "list" }));
    const missing = (await this.#tasks()).filter(({ id }) => !held.has(id));
    const done = await Promise.allSettled(missing.map((task) => this.#reopenLog(task)));
    const failures = done.flatMap((one) => (one.status === "rejected" ? [one.reason as Error] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join("; "));
  }

  async #reopenLog(task: Pick<Process, "id" | "stdout" | "stderr"> | undefined): Promise<void> {
    if (task === undefined || task.stdout === "") return;
    const { id, stdout, stderr } = task;
    await this.#parts.logger.ask({ verb: "open", id, stdout, ...(stderr !== "" && { stderr }), log: this.logPath(id) });
  }

  /** A task event came. The process's last output is passed on before anybody is told that it ended. */
  async ended(event: ExitEvent): Promise<void> {
    const tell = () => {
      for (const listener of this.#exitListeners) listener(event);
    };
    if (event.execId !== undefined) return this.#execs.ended(event.containerId, event.execId, tell);
    try {
      await this.reap(event.containerId);
    } finally {
      tell();
    }
  }

  onExit(listener: (event: ExitEvent) => void): () => void {
    this.#exitListeners.add(listener);
    return () => this.#exitListeners.delete(listener);
  }

  logPath(id: ContainerId): string {
    return join(this.#parts.dataRoot, "containers", id, `${id}-json.log`);
  }
}

/** Killed, but not gone yet: the shim says it in words. */
const stillRuns = (error: unknown) =>
  hasCode(error, code.failedPrecondition) || /delete a running process/.test(detailsOf(error));

/** It ended by itself meanwhile. */
function ended(error: unknown): void {
  if (!hasCode(error, code.notFound, code.failedPrecondition)) throw error;
}
