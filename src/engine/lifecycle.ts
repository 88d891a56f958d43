import { mkdir, stat } from "node:fs/promises";
import { conflict, EngineError, invalid, isUnavailable, system } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import { signalNumber } from "../lib/signals.ts";
import { within } from "../lib/within.ts";
import { type Container, type ContainerState, isChecked, type Mount } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import type { ExitEvent, FoundContainer, ResolvedMount } from "../runtime/runtime.ts";
import { isRunning } from "./containers.ts";
import { publishContainer } from "./create-container.ts";
import type { WaitCondition } from "./engine.ts";
import { containerNamed } from "./lookup.ts";
import { publishAttachments } from "./network-events.ts";
import type { Parts } from "./parts.ts";
import { pathsOf, refreshFiles, removeFiles } from "./sandbox-files.ts";
import { taskFileMounts, writeTaskFiles } from "./task-files.ts";
import { closeSandbox, dropSandbox, hasSandbox, openSandbox, removalSettled } from "./sandboxes.ts";
import { removeVolume, volumePath } from "./volumes.ts";

interface Waiter {
  readonly condition: WaitCondition;
  readonly tell: (result: { exitCode: number; error: string }) => void;
}
const firstPause = 100; // milliseconds before the first restart; doubles up to a minute (Docker's documentation, restart policies)
const longestPause = 60_000; // milliseconds

/** From created to running to exited to removed, and back again as the restart policy says. */
export class Lifecycle {
  readonly #parts: Parts;
  readonly #waiters = new Map<ContainerId, Set<Waiter>>();
  readonly #restarts = new Map<ContainerId, { pause: number; timer?: NodeJS.Timeout }>();
  /** Those that a user restarts: he does what their policies would do. */
  readonly #beingRestarted = new Set<ContainerId>();
  /** A process may end before its start is recorded: its exit waits. */
  readonly #starting = new Map<ContainerId, Promise<void>>();
  /** Restarts that are due wait until the node is in its swarm again: networks of the cluster are not reached before. */
  #mayRestart = false;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    parts.runtime.processes.onExit((event) => {
      if (event.execId === undefined)
        this.#exited(event).catch((err: unknown) => parts.log.error({ err }, "an exit was not recorded"));
    });
    parts.runtime.onReconnect(
      () => void this.#catchUp().catch((err: unknown) => parts.log.error({ err }, "containers were not found again")),
    );
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#restarts.values()) clearTimeout(timer);
  }

  /** @throws {EngineError} not-modified when it runs; what network or runtime refuse, with nothing left running */
  async start(container: Container): Promise<void> {
    const starting = this.#start(container);
    this.#starting.set(container.id, starting);
    try {
      await starting;
    } finally {
      this.#starting.delete(container.id);
    }
  }

  async #start(container: Container): Promise<void> {
    if (container.state.status === "paused") throw conflict("cannot start a paused container, try unpause instead");
    if (isRunning(container)) throw new EngineError("not-modified", "container is already running");
    if (container.state.status === "dead") throw conflict("container is marked for removal and cannot be started");
    const { processes } = this.#parts.runtime;
    clearTimeout(this.#restarts.get(container.id)?.timer);
    try {
      writeTaskFiles(this.#parts, container);
      const mounts = await this.mounts(container);
      await processes.reap(container.id);
      if (hasSandbox(container)) await openSandbox(this.#parts, container);
      await refreshFiles(this.#parts, container.id);
      failpoint("container.start.before-runtime");
      const pid = await processes.start({ container, ...this.#namespaces(container), mounts });
      failpoint("container.start.after-runtime");
      const startedAt = new Date().toISOString();
      await this.remember(container.id, {
        status: "running",
        pid,
        startedAt,
        exitCode: 0,
        error: "",
        oomKilled: false,
        stoppedByUser: false,
        ...(isChecked(container.spec) && { health: "starting" }),
      });
    } catch (error) {
      await closeSandbox(this.#parts, container.id);
      this.#parts.runtime.memoryFiles.remove(container.id);
      const exitCode = /not found|no such file/i.test((error as Error).message) ? 127 : container.state.exitCode || 128;
      await this.remember(container.id, { error: (error as Error).message, exitCode });
      if (container.spec.autoRemove)
        await this.remove(containerNamed(this.#parts.store.snapshot(), container.id), { force: true, volumes: true });
      throw error;
    }
    failpoint("container.start.after-store");
    publishAttachments(this.#parts, container, "connect");
    publishContainer(this.#parts, container, "start");
  }

  #namespaces(container: Container): { network?: string; pid?: string; ipc?: string } {
    const { networkMode, pidMode, ipcMode } = container.spec;
    const rows = this.#parts.store.snapshot();
    const of = (mode: string, name: string) => {
      if (mode === "host") return "host";
      if (!mode.startsWith("container:")) return undefined;
      const other = containerNamed(rows, mode.slice("container:".length));
      if (!isRunning(other))
        throw conflict(
          `cannot join ${name} namespace of a non running container: container ${other.name} is ${other.state.status}`,
        );
      return `/proc/${other.state.pid}/ns/${name === "network" ? "net" : name.toLowerCase()}`;
    };
    const pid = of(pidMode, "PID");
    const ipc = of(ipcMode, "IPC");
    const shared = of(networkMode, "network");
    const network = hasSandbox(container)
      ? this.#parts.host.namespacePath(container.id)
      : shared === "host"
        ? undefined
        : shared;
    return {
      ...(network !== undefined && { network }),
      ...(pid !== undefined && { pid }),
      ...(ipc !== undefined && { ipc }),
    };
  }

  /** What is mounted into a container, sources that may be made included. @throws {EngineError} invalid when one is missing */
  async mounts(container: Container): Promise<ResolvedMount[]> {
    const files = pathsOf(this.#parts, container.id);
    const file = (source: string, target: string): ResolvedMount => ({
      type: "bind",
      source,
      target,
      readOnly: false,
      propagation: "rprivate",
      options: "",
    });
    const resolve = async (m: Mount): Promise<ResolvedMount> => {
      if (m.type === "tmpfs") return { ...m, type: "tmpfs" };
      const source = m.type === "volume" ? volumePath(this.#parts, m.source) : m.source;
      await stat(source).catch(async () => {
        if (m.createSource) return mkdir(source, { recursive: true });
        throw invalid(`invalid mount config for type "${m.type}": bind source path does not exist: ${source}`);
      });
      return {
        type: "bind",
        source,
        target: m.target,
        readOnly: m.readOnly,
        propagation: m.propagation,
        options: m.options,
      };
    };
    const own = await Promise.all(container.spec.mounts.map(resolve));
    const etc = [
      file(files.resolvConf, "/etc/resolv.conf"),
      file(files.hostname, "/etc/hostname"),
      file(files.hosts, "/etc/hosts"),
    ];
    const usual = etc.filter((e) => !own.some((m) => m.target === e.target));
    return [...usual, ...own, ...taskFileMounts(this.#parts, container)];
  }

  async stop(container: Container, options: { readonly timeout?: number; readonly signal?: string }): Promise<void> {
    const restart = this.#restarts.get(container.id);
    if (container.state.status === "restarting") {
      clearTimeout(restart?.timer);
      await this.remember(container.id, { status: "exited", stoppedByUser: true });
      return;
    }
    if (!isRunning(container)) throw new EngineError("not-modified", "container is already stopped");
    await this.remember(container.id, { stoppedByUser: true });
    if (container.state.status === "paused") await this.unpause(container);
    const seconds = options.timeout ?? container.spec.stopTimeout ?? 10;
    const gone = this.wait(container, "next-exit");
    const signal = signalNumber(options.signal ?? (container.spec.stopSignal || "TERM"));
    await this.#signal(container.id, signal);
    if (!(await within(gone, seconds * 1000))) {
      await this.#signal(container.id, 9);
      if (!(await within(gone, 10_000))) throw system(`container ${container.id} did not end after SIGKILL`);
    }
    publishContainer(this.#parts, container, "stop");
  }

  /** Ends it, where it runs, and starts it; meanwhile it keeps what it has of the cluster. @throws {EngineError} as `stop` and `start` */
  async restart(container: Container, options: { readonly timeout?: number; readonly signal?: string }): Promise<void> {
    const { id } = container;
    const now = () => containerNamed(this.#parts.store.snapshot(), id);
    this.#beingRestarted.add(id);
    try {
      if (isRunning(container)) await this.stop(container, options);
      await this.start(now());
    } catch (error) {
      if (now().state.status === "restarting") await this.remember(id, { status: "exited" });
      throw error;
    } finally {
      this.#beingRestarted.delete(id);
    }
  }

  async #signal(id: ContainerId, signal: number): Promise<void> {
    await this.#parts.runtime.processes.kill(id, signal).catch((error: unknown) => {
      if (!(error instanceof EngineError) || error.class !== "conflict") throw error; // conflict: it ended by itself
    });
  }

  /** Sends a signal; after the one that nobody survives it waits until the end is recorded (moby daemon/kill.go). */
  async kill(container: Container, signal: number): Promise<void> {
    const isLast = signal === 9;
    if (isLast) await this.remember(container.id, { stoppedByUser: true });
    const gone = isLast ? this.wait(container, "next-exit") : Promise.resolve();
    await this.#parts.runtime.processes.kill(container.id, signal);
    publishContainer(this.#parts, container, "kill", { signal: String(signal) });
    // A control group of the first version delivers no signal while it is frozen.
    if (isLast && container.state.status === "paused")
      await this.#parts.runtime.processes.resume(container.id).catch(() => {}); // it ended already
    if (!(await within(gone, 10_000))) throw system("tried to kill container, but did not receive an exit event");
  }

  async pause(container: Container): Promise<void> {
    if (container.state.status === "paused") throw conflict(`container ${container.id} is already paused`);
    await this.#parts.runtime.processes.pause(container.id);
    await this.remember(container.id, { status: "paused" });
    publishContainer(this.#parts, container, "pause");
  }

  async unpause(container: Container): Promise<void> {
    if (container.state.status !== "paused") throw conflict(`Container ${container.id} is not paused`);
    await this.#parts.runtime.processes.resume(container.id);
    await this.remember(container.id, { status: "running" });
    publishContainer(this.#parts, container, "unpause");
  }

  /** @throws {EngineError} conflict when it runs and `force` is off */
  async remove(container: Container, options: { readonly force: boolean; readonly volumes: boolean }): Promise<void> {
    if (isRunning(container) && !options.force) {
      const state =
        container.state.status === "paused"
          ? "container is paused and must be unpaused first"
          : "container is running: stop the container before removing or force remove";
      throw conflict(`cannot remove container "/${container.name}": ${state}`);
    }
    clearTimeout(this.#restarts.get(container.id)?.timer);
    this.#restarts.delete(container.id);
    failpoint("container.remove.before-store");
    await this.remember(container.id, { status: "dead", stoppedByUser: true });
    failpoint("container.remove.before-runtime");
    await this.#parts.runtime.processes.remove(container.id);
    failpoint("container.remove.after-runtime");
    const exitCode = isRunning(container) ? 128 + 9 : container.state.exitCode;
    if (isRunning(container)) {
      publishContainer(this.#parts, container, "kill", { signal: "9" });
      this.#publishEnd(container, exitCode);
    }
    await this.#parts.resolver.close(container.id);
    const { result, revision } = await this.#parts.store.update((tx) => {
      const owners = dropSandbox(tx, container.id);
      tx.delete("names", `container|${(tx.get("containers", container.id) ?? container).name}`);
      tx.delete("containers", container.id);
      return owners;
    });
    failpoint("container.remove.after-store");
    this.#parts.runtime.memoryFiles.remove(container.id);
    await Promise.all([removalSettled(this.#parts, result, revision), removeFiles(this.#parts, container.id)]);
    if (options.volumes) await this.#removeVolumes(container);
    publishContainer(this.#parts, container, "destroy");
    this.#tell(container.id, ["removed", "next-exit", "not-running"], { exitCode, error: "" });
  }

  async #removeVolumes(container: Container): Promise<void> {
    for (const mount of container.spec.mounts) {
      const row = mount.type === "volume" ? this.#parts.store.snapshot().get("volumes", mount.source) : undefined;
      if (row?.anonymous)
        await removeVolume(this.#parts, row.name).catch((err: unknown) =>
          this.#parts.log.warn({ err }, "a volume stays"),
        );
    }
  }

  /** Resolves when the condition holds; registered when the call returns. */
  wait(container: Container, condition: WaitCondition): Promise<{ exitCode: number; error: string }> {
    const { state } = container;
    const idle = !isRunning(container) && state.status !== "restarting";
    if (condition === "not-running" && idle) return Promise.resolve({ exitCode: state.exitCode, error: state.error });
    return new Promise((tell) => {
      const waiters = this.#waiters.get(container.id) ?? new Set();
      this.#waiters.set(container.id, waiters.add({ condition, tell }));
    });
  }

  #tell(id: ContainerId, conditions: readonly WaitCondition[], result: { exitCode: number; error: string }): void {
    const waiters = this.#waiters.get(id);
    for (const waiter of waiters ?? []) {
      if (!conditions.includes(waiter.condition)) continue;
      waiters?.delete(waiter);
      waiter.tell(result);
    }
    if (waiters?.size === 0) this.#waiters.delete(id);
  }

  /** Changes a container's state, durably. */
  async remember(id: ContainerId, change: Partial<ContainerState>): Promise<void> {
    await this.#parts.store.update((tx) => {
      const row = tx.get("containers", id);
      if (row === undefined) return;
      const { claims, ...rest } = row;
      const state = { ...row.state, ...change };
      tx.put("containers", { ...rest, state, ...(claims && state.status === "restarting" && { claims }) });
    });
  }

  async #exited(event: ExitEvent): Promise<void> {
    const { store, resolver, runtime } = this.#parts;
    const { containerId: id, exitCode } = event;
    await this.#starting.get(id)?.catch(() => {}); // the caller of start was told
    const before = store.snapshot().get("containers", id);
    if (before === undefined || before.state.status === "dead") return;
    await resolver.close(id);
    const { result, revision } = await store.update((tx) => {
      const row = tx.get("containers", id);
      if (row === undefined) return [];
      const { oomKilled, exitedAt } = event;
      const health = row.state.health && ({ health: "unhealthy" } as const);
      const ended = { ...row, state: { ...row.state, pid: 0, exitCode, oomKilled, finishedAt: exitedAt, ...health } };
      const status = this.#beingRestarted.has(id) || wantsRestart(ended) ? "restarting" : "exited";
      tx.put("containers", { ...ended, state: { ...ended.state, status } });
      return dropSandbox(tx, id);
    });
    failpoint("container.exit.after-store");
    runtime.memoryFiles.remove(id);
    await Promise.all([removalSettled(this.#parts, result, revision), runtime.processes.reap(id)]);
    this.#publishEnd(before, exitCode);
    this.#tell(id, ["next-exit", "not-running"], { exitCode, error: "" });
    await this.#afterwards(id);
  }

  #publishEnd(container: Container, exitCode: number): void {
    publishContainer(this.#parts, container, "die", { exitCode: String(exitCode) });
    publishAttachments(this.#parts, container, "disconnect");
  }

  /** Removes or restarts what ended. */
  async #afterwards(id: ContainerId): Promise<void> {
    const container = this.#parts.store.snapshot().get("containers", id);
    if (container === undefined || this.#closed || this.#beingRestarted.has(id)) return;
    if (container.state.status === "restarting") await this.#restartLater(container);
    else if (container.spec.autoRemove)
      await this.#parts.locks.run(id, () => this.remove(container, { force: true, volumes: true }));
  }

  async #restartLater(container: Container): Promise<void> {
    const { startedAt, finishedAt, restartCount } = container.state;
    const long = Date.parse(finishedAt) - Date.parse(startedAt) > 10_000;
    const pause = long ? firstPause : this.#pauseAfter(this.#restarts.get(container.id)?.pause ?? firstPause / 2);
    await this.remember(container.id, { status: "restarting", restartCount: restartCount + 1 });
    this.#schedule(container.id, pause);
  }

  #pauseAfter(pause: number): number {
    return Math.min(pause * 2, longestPause);
  }

  #schedule(id: ContainerId, pause: number): void {
    clearTimeout(this.#restarts.get(id)?.timer);
    if (this.#closed) return;
    const timer = this.#mayRestart ? setTimeout(() => this.#restartNow(id, pause), pause) : undefined;
    this.#restarts.set(id, { pause, ...(timer && { timer }) });
  }

  #restartNow(id: ContainerId, pause: number): void {
    const again = async () => {
      const row = this.#parts.store.snapshot().get("containers", id);
      if (row?.state.status !== "restarting" || this.#closed) return;
      try {
        await this.start(row);
      } catch (err) {
        this.#parts.log.warn({ err, container: id }, "a restart failed");
        // Managers that do not answer will: that is no failure of the container's.
        if (isUnavailable(err)) this.#schedule(id, this.#pauseAfter(pause));
        else await this.remember(id, { status: "exited" });
      }
    };
    this.#parts.locks
      .run(id, again)
      .catch((err: unknown) => this.#parts.log.error({ err, container: id }, "a failed restart was not recorded"));
  }

  /** From here on containers are started again: those that `recover` has found, and those that end. */
  beginRestarts(): void {
    this.#mayRestart = true;
    for (const [id, { pause }] of this.#restarts) this.#schedule(id, pause);
  }

  /**
   * At start: records exits that were missed, ends what was half started, finishes removals; what shall run again waits for `beginRestarts`.
   * A container that cannot be put right is said, and keeps no other from being.
   */
  async recover(): Promise<void> {
    const { store, runtime, log } = this.#parts;
    const rows = store.snapshot();
    const found = new Map((await runtime.processes.list()).map((f) => [f.id, f]));
    for (const id of found.keys()) if (rows.get("containers", id) === undefined) await runtime.processes.remove(id);
    for (const container of rows.list("containers"))
      await this.#recoverOne(container, found.get(container.id)).catch((err: unknown) =>
        log.error({ err, container: container.id }, "a container could not be put right: docker rm --force removes it"),
      );
    for (const sandbox of store
      .snapshot()
      .list("sandboxes")
      .filter(({ id }) => id !== ingressSandbox))
      if (store.snapshot().get("containers", sandbox.containerId) === undefined)
        await closeSandbox(this.#parts, sandbox.id);
    const running = store.snapshot().list("containers").filter(isRunning);
    runtime.memoryFiles.keepOnly(new Set(running.map(({ id }) => id)));
  }

  async #recoverOne(container: Container, found: FoundContainer | undefined): Promise<void> {
    const { resolver, store } = this.#parts;
    const alive = found?.task?.status === "running" || found?.task?.status === "paused";
    if (container.state.status === "dead") {
      await this.remove(container, { force: true, volumes: container.spec.autoRemove });
    } else if (isRunning(container) && alive) {
      if (store.snapshot().get("sandboxes", container.id)?.resolver) await resolver.open(container.id);
      await this.remember(container.id, {
        status: found?.task?.status === "paused" ? "paused" : "running",
        pid: found?.task?.pid || container.state.pid,
      });
    } else if (isRunning(container)) {
      const { exitCode = 255, exitedAt = new Date().toISOString() } = found?.task ?? {};
      await this.#exited({ containerId: container.id, exitCode, exitedAt, oomKilled: false });
    } else {
      if (found?.task !== undefined) await this.#endHalfStarted(container.id);
      if (store.snapshot().get("sandboxes", container.id) !== undefined) await closeSandbox(this.#parts, container.id);
      if (container.spec.autoRemove && container.state.status === "exited")
        await this.remove(container, { force: true, volumes: true });
      else if (
        container.state.status === "restarting" ||
        (container.state.startedAt !== zero && bootRestart(container))
      )
        await this.#restartLater(container);
    }
  }

  /** The daemon died between the start of the process and its record: nobody was told that it runs. */
  async #endHalfStarted(id: ContainerId): Promise<void> {
    const { processes } = this.#parts.runtime;
    const gone = new Promise<void>((resolve) => {
      const end = processes.onExit((event) => {
        if (event.containerId !== id || event.execId !== undefined) return;
        end();
        resolve();
      });
    });
    await this.#signal(id, 9);
    await within(gone, 2000);
    await processes.reap(id);
  }

  /** After containerd came back: exits may have passed unseen. */
  async #catchUp(): Promise<void> {
    const found = new Map((await this.#parts.runtime.processes.list()).map((f) => [f.id, f]));
    for (const container of this.#parts.store.snapshot().list("containers")) {
      const task = found.get(container.id)?.task;
      if (!isRunning(container) || task?.status === "running" || task?.status === "paused") continue;
      const { exitCode = 255, exitedAt = new Date().toISOString() } = task ?? {};
      await this.#exited({ containerId: container.id, exitCode, exitedAt, oomKilled: false });
    }
  }
}

const zero = "0001-01-01T00:00:00Z";

function wantsRestart(container: Container): boolean {
  const { restart } = container.spec;
  const { stoppedByUser, exitCode, restartCount } = container.state;
  if (stoppedByUser) return false;
  if (restart.name === "always" || restart.name === "unless-stopped") return true;
  return (
    restart.name === "on-failure" &&
    exitCode !== 0 &&
    (restart.maximumRetryCount === 0 || restartCount < restart.maximumRetryCount)
  );
}

/** `always` runs again after a restart of the daemon even where the user had stopped it; `unless-stopped` does not. */
const bootRestart = (container: Container) => container.spec.restart.name === "always" || wantsRestart(container);
