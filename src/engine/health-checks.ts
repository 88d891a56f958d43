import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { durationText } from "../lib/duration.ts";
import { EngineError, system } from "../lib/errors.ts";
import { within } from "../lib/within.ts";
import { type Container, type HealthCheck, isChecked } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import type { ProcessStreams } from "../runtime/runtime.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import { publishContainer } from "./create-container.ts";
import type { OwnExecs } from "./execs.ts";
import { type HealthReport, type HealthResult, judged, pauseBefore, withDefaults } from "./health.ts";
import type { Parts } from "./parts.ts";

const longest = 4096; // bytes of a check's output that are kept (moby daemon/health.go)
const startPatience = 30_000; // milliseconds that a check may take to begin (moby daemon/health.go)
const nothing: HealthReport = { failingStreak: 0, log: [] };
const plainExec = {
  ...{ env: [], user: "", workingDir: "", tty: false, stdin: false, privileged: false },
  ...{ detachKeys: "", attach: { stdout: true, stderr: true } },
};

/** One run of a container that is looked at. */
interface Watch {
  readonly startedAt: string;
  readonly end: AbortController;
}

/**
 * Looks at the health of containers while they run, as their rows say: a change of a row begins or ends it, and so does the
 * daemon's start.
 */
export class HealthChecks {
  readonly #parts: Parts;
  readonly #execs: OwnExecs;
  readonly #watches = new Map<ContainerId, Watch>();
  readonly #reports = new Map<ContainerId, HealthReport>();
  readonly #stopped = new AbortController();

  constructor(parts: Parts, execs: OwnExecs) {
    this.#parts = parts;
    this.#execs = execs;
  }

  start(): void {
    void this.#follow(this.#stopped.signal);
  }
  stop(): void {
    this.#stopped.abort();
    for (const { end } of this.#watches.values()) end.abort();
  }

  /** What was found out since the daemon's start. */
  reportOf(id: ContainerId): HealthReport {
    return this.#reports.get(id) ?? nothing;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const { snapshot, changed } of this.#parts.store.watch(signal))
      for (const key of changed) this.#fit(key, snapshot);
  }

  #fit({ table, key }: RowKey, rows: Snapshot): void {
    if (table !== "containers") return;
    const row = rows.get("containers", key);
    const wanted = row?.state.status === "running" && isChecked(row.spec) ? row : undefined;
    const present = this.#watches.get(key);
    if (row === undefined) this.#reports.delete(key);
    if (present?.startedAt === wanted?.state.startedAt) return;
    present?.end.abort();
    this.#watches.delete(key);
    if (wanted === undefined) return;
    const watch = { startedAt: wanted.state.startedAt, end: new AbortController() };
    this.#watches.set(key, watch);
    this.#look(wanted, watch).catch((err: unknown) => {
      if (!watch.end.signal.aborted) this.#parts.log.error({ err, container: key }, "health checks broke off");
    });
  }

  async #look({ id, spec, state: { startedAt } }: Container, { end: { signal } }: Watch): Promise<void> {
    if (spec.healthCheck === undefined) return;
    const check = withDefaults(spec.healthCheck);
    const args = commandOf(check, spec.shell);
    // The results before this run are still shown, as in Docker.
    this.#reports.set(id, { ...this.reportOf(id), failingStreak: 0 });
    await this.#endStrays(id);
    for (;;) {
      const status = this.#rowOf(id)?.state.health ?? "starting";
      await sleep(pauseBefore(check, status, Date.now() - Date.parse(startedAt)), undefined, { signal, ref: false });
      const result = await this.#probe(id, args, check.timeout, signal);
      if (signal.aborted) return;
      await this.#record(id, result, check, startedAt);
    }
  }

  #rowOf = (id: ContainerId) => this.#parts.store.snapshot().get("containers", id);

  /** The row says what others go by: it is written when that changes. */
  async #record(id: ContainerId, result: HealthResult, check: HealthCheck, startedAt: string): Promise<void> {
    const before = this.#rowOf(id)?.state.health ?? "starting";
    const { status, ...report } = judged({ ...this.reportOf(id), status: before }, result, check, startedAt);
    this.#reports.set(id, report);
    if (status === before) return;
    const { result: row } = await this.#parts.store.update((tx) => {
      const now = tx.get("containers", id);
      if (now?.state.startedAt !== startedAt || now.state.status !== "running") return undefined;
      tx.put("containers", { ...now, state: { ...now.state, health: status } });
      return now;
    });
    if (row !== undefined) publishContainer(this.#parts, row, `health_status: ${status}`);
  }

  /** Runs the command once. @returns what came of it, whatever went wrong */
  async #probe(id: ContainerId, args: readonly string[], timeout: number, signal: AbortSignal): Promise<HealthResult> {
    const start = new Date().toISOString();
    const exec = strayPrefix(id) + randomBytes(16).toString("hex");
    try {
      const { exitCode, output } = await this.#run(id, exec, args, timeout, signal);
      return { start, end: new Date().toISOString(), exitCode, output };
    } catch (error) {
      return { start, end: new Date().toISOString(), exitCode: -1, output: (error as Error).message };
    } finally {
      this.#execs.forget(exec);
    }
  }

  async #run(
    id: ContainerId,
    exec: string,
    args: readonly string[],
    timeout: number,
    signal: AbortSignal,
  ): Promise<Pick<HealthResult, "exitCode" | "output">> {
    await this.#execs.create(id, { ...plainExec, args }, exec);
    const starting = this.#execs.start(exec, { detach: false });
    if (!(await within(starting, startPatience))) {
      starting.then(() => this.#kill(id, exec)).catch(() => {}); // it did not start at all
      throw system(`timed out starting health check for container ${id}`);
    }
    const late = AbortSignal.timeout(timeout);
    const end = AbortSignal.any([late, signal]);
    end.addEventListener("abort", () => void this.#kill(id, exec), { once: true });
    const output = await readOutput(await starting);
    if (!late.aborted) return { exitCode: this.#execs.inspect(exec).exitCode ?? -1, output };
    const text = `Health check exceeded timeout (${durationText(timeout)})`;
    return { exitCode: -1, output: output === "" ? text : `${text}: ${output}` };
  }

  async #kill(id: ContainerId, exec: string): Promise<void> {
    await this.#parts.runtime.processes.kill(id, 9, exec).catch((err: unknown) => {
      if (err instanceof EngineError && err.class === "conflict") return; // it has ended
      this.#parts.log.warn({ err, container: id }, "a health check could not be ended");
    });
  }

  /** What a daemon that was killed has left running. */
  async #endStrays(id: ContainerId): Promise<void> {
    const execs = await this.#parts.runtime.processes.execs(id).catch(() => []); // it has ended, or will be seen to
    for (const exec of execs) if (exec.startsWith(strayPrefix(id))) await this.#kill(id, exec);
  }
}

/** By this the processes of health checks are known from those of users. */
const strayPrefix = (id: ContainerId) => createHash("sha256").update(`health check ${id}`).digest("hex").slice(0, 32);

function commandOf({ test: [kind, ...words] }: HealthCheck, shell: readonly string[] = []): readonly string[] {
  if (kind === "CMD") return words;
  return [...(shell.length > 0 ? shell : ["/bin/sh", "-c"]), ...words];
}

/** What a check says, as much of it as is kept. */
async function readOutput(streams: ProcessStreams | undefined): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const { data } of streams?.output ?? []) {
    if (size < longest) chunks.push(data);
    size += data.length;
  }
  const text = Buffer.concat(chunks).subarray(0, longest).toString("utf8");
  return size > longest ? `${text}...` : text;
}
