import { invalid } from "../lib/errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { Container } from "../model/container.ts";
import { type ContainerdClient, detailsOf, unlessMissing } from "./containerd/client.ts";
import { FifoReader } from "./logs/fifo-reader.ts";
import { OutputQueue } from "./output-queue.ts";
import type { ExecSpec, OutputChunk, ProcessStreams } from "./runtime.ts";
import { execProcessOf } from "./spec/process.ts";
import type { Layers } from "./spec/user.ts";
import { makeFifos, outputFifos, removeFifos, Stdin } from "./stdio.ts";
import { json } from "./tasks.ts";

interface Running {
  readonly readers: readonly FifoReader[];
  readonly output: OutputQueue;
  readonly stdin?: Stdin;
}

/** Further processes in running containers. Their output goes to their client and nowhere else. */
export class ExecRunner {
  readonly #client: ContainerdClient;
  readonly #fifoDirectory: string;
  readonly #running = new Map<string, Running>();
  /** Those that are being started: their exits may come before. */
  readonly #starting = new Map<string, { readonly containerId: string; readonly done: Promise<unknown> }>();
  /** By container: what no exec is to be started beside. */
  readonly #apart = new KeyedLock();

  constructor(client: ContainerdClient, fifoDirectory: string) {
    this.#client = client;
    this.#fifoDirectory = fifoDirectory;
  }

  /** @throws {EngineError} invalid, with runc's reason */
  async run(
    container: Container,
    spec: ExecSpec,
    layers: Layers,
    detached: boolean,
  ): Promise<{ readonly pid: number; readonly streams?: ProcessStreams }> {
    const process = json("Process", execProcessOf(container, spec, layers));
    const fifos = makeFifos(this.#fifoDirectory, spec.id, { tty: spec.tty, stdin: spec.stdin && !detached });
    const running = this.#open(fifos, detached);
    this.#running.set(spec.id, running);
    const names = { containerId: container.id, execId: spec.id };
    const start = async () => {
      await this.#client.tasks.exec({ ...names, ...fifos, terminal: spec.tty, spec: process });
      return this.#client.tasks.start(names);
    };
    try {
      const { started } = await this.#apart.run(container.id, async () => this.#begin(names, start()));
      const { pid } = await started;
      return detached ? { pid } : { pid, streams: this.#streams(names, running) };
    } catch (error) {
      await unlessMissing(this.#client.tasks.deleteProcess(names)).catch(() => {}); // it never ran: containerd says so
      this.#letGo(spec.id);
      throw invalid(detailsOf(error));
    } finally {
      this.#starting.delete(spec.id);
    }
  }

  /** Processes of a daemon before this one: nobody hears what they say any more, but it is read, so that they go on. */
  takeUp(execIds: readonly string[]): void {
    for (const id of execIds) {
      const [stdout = "", stderr = ""] = outputFifos(this.#fifoDirectory, id);
      if (stdout !== "") this.#running.set(id, this.#open({ stdin: "", stdout, stderr }, true));
    }
  }
  /** Lets go of those that have ended unseen. */
  keepOnly(alive: ReadonlySet<string>): void {
    for (const id of this.#running.keys()) if (!alive.has(id)) this.#letGo(id);
  }

  #begin<R>({ containerId, execId }: { containerId: string; execId: string }, started: Promise<R>) {
    this.#starting.set(execId, { containerId, done: started.catch(() => {}) });
    return { started }; // not waited for: others may be started beside it
  }

  /** Runs `body` when no exec of the container is being started; those that come meanwhile wait for it. */
  whileNoneStarts<R>(containerId: string, body: () => Promise<R>): Promise<R> {
    return this.#apart.run(containerId, async () => {
      const own = [...this.#starting.values()].filter((one) => one.containerId === containerId);
      await Promise.all(own.map(({ done }) => done));
      return body();
    });
  }

  #open(fifos: ReturnType<typeof makeFifos>, detached: boolean): Running {
    const readers: FifoReader[] = [];
    const output = new OutputQueue(() => readers.forEach((reader) => reader.resume()));
    const read = (path: string, stream: OutputChunk["stream"]) =>
      new FifoReader(path, (data) => {
        if (!detached && !output.push({ stream, data })) readers.forEach((reader) => reader.pause());
      });
    readers.push(read(fifos.stdout, "stdout"));
    if (fifos.stderr !== "") readers.push(read(fifos.stderr, "stderr"));
    return { readers, output, ...(fifos.stdin !== "" && { stdin: new Stdin(fifos.stdin) }) };
  }

  #streams(
    names: { readonly containerId: string; readonly execId: string },
    { output, stdin }: Running,
  ): ProcessStreams {
    return {
      output,
      write: async (data) => stdin?.write(data),
      closeStdin: () => {
        const close = async () => {
          await stdin?.close();
          await unlessMissing(this.#client.tasks.closeIO({ ...names, stdin: true }));
        };
        close().catch(() => {}); // it ended before
      },
      close: () => output.end(),
    };
  }

  /** Its last output comes before `tell`, and `tell` before the end of the output: who reads to the end finds the exit code. */
  async ended(containerId: string, execId: string, tell: () => void): Promise<void> {
    await this.#starting.get(execId)?.done;
    await unlessMissing(this.#client.tasks.deleteProcess({ containerId, execId })).catch(() => {}); // the container ended with it
    for (const reader of this.#running.get(execId)?.readers ?? []) reader.drain();
    tell();
    this.#letGo(execId);
  }

  #letGo(execId: string): void {
    const running = this.#running.get(execId);
    this.#running.delete(execId);
    for (const reader of running?.readers ?? []) reader.drain();
    running?.stdin?.destroy();
    running?.output.end();
    removeFifos(this.#fifoDirectory, execId);
  }
}
