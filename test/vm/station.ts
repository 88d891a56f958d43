import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import type { Answer, Order } from "./messages.ts";

export interface Outcome {
  /** Exit status, as a shell gives it: 128 and its number for a signal, 127 for what could not be started. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface SpawnOptions {
  /** Standard input; without it, the command reads an end of file. `open` keeps it open for `write`. */
  readonly input?: string | Buffer | "open";
  readonly env?: Readonly<Record<string, string>>;
}
export interface RunOptions extends SpawnOptions {
  /** Milliseconds until the command and what it started are killed; 60 000 when absent. */
  readonly timeout?: number;
}
const piece = 48 * 1024; // bytes of input in one message

/** A place where commands run: a host of a lane, or its segment. Commands run beside each other, as root. */
export class Station {
  readonly name: string;
  /** IPv4 on the segment. */
  readonly address: string;
  /** Resolves when commands can run. @throws when the place is lost before */
  readonly ready: Promise<void>;
  readonly #stream: Duplex;
  readonly #jobs = new Map<number, Background>();
  readonly #env: Readonly<Record<string, string>>;
  #lost: Error | undefined;
  #next = 1;

  /** @param env variables for every command here */
  constructor(name: string, address: string, stream: Duplex, env: Readonly<Record<string, string>>) {
    this.name = name;
    this.address = address;
    this.#stream = stream;
    this.#env = env;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ready = promise;
    this.ready.catch(() => {});
    createInterface({ input: stream }).on("line", (line) => {
      const answer = JSON.parse(line) as Answer;
      if ("ready" in answer) resolve();
      else this.#jobs.get(answer.id)?.take(answer);
    });
    const lose = () => {
      this.#lost ??= new Error(`${name} is gone`);
      reject(this.#lost);
      for (const job of this.#jobs.values()) job.lose(this.#lost);
    };
    stream.on("error", lose);
    stream.on("close", lose);
  }

  /**
   * Runs a command to its end. A program that it left in the background does not keep it.
   * @throws when it takes too long, with its output so far; when the host is gone
   */
  async run(command: readonly string[], { timeout = 60_000, ...options }: RunOptions = {}): Promise<Outcome> {
    const job = this.spawn(command, options);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      job.kill("SIGKILL");
      const said = `${job.stdout}${job.stderr}`;
      late.reject(new Error(`${this.name}: ${command.join(" ")}: not done after ${timeout} ms\n${said}`));
    }, timeout);
    try {
      return await Promise.race([job.ended, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a shell line. @returns what it printed, without the last newline @throws when it fails or takes too long */
  async sh(line: string, options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(["sh", "-c", line], options);
    assert.equal(status, 0, `${this.name}: ${line}: ${stderr}${stdout}`);
    return stdout.replace(/\n$/, "");
  }

  /** Starts a command and does not wait for it. It ends with the lane at the latest. */
  spawn(command: readonly string[], { input, env = {} }: SpawnOptions = {}): Background {
    const id = this.#next++;
    const job = new Background(`${this.name}: ${command.join(" ")}`, (order) => this.#send({ id, ...order }));
    if (this.#lost !== undefined) {
      job.lose(this.#lost);
      return job;
    }
    this.#jobs.set(id, job);
    job.ended.then(
      () => this.#jobs.delete(id),
      () => {},
    );
    this.#send({ id, command, env: { ...this.#env, ...env } });
    if (input !== "open") {
      if (input !== undefined) job.write(input);
      job.endInput();
    }
    return job;
  }

  #send(order: Order): void {
    this.#stream.write(`${JSON.stringify(order)}\n`);
  }
}

type PartOf<T> = T extends Order ? Omit<T, "id"> : never;

/** A command under way. */
export class Background {
  /** @throws when the host is gone before the command ended */
  readonly ended: Promise<Outcome>;
  readonly #title: string;
  readonly #send: (order: PartOf<Order>) => void;
  readonly #end = Promise.withResolvers<Outcome>();
  readonly #output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  readonly #listeners = new Set<(stream: "stdout" | "stderr", data: Buffer) => void>();
  #over = false;

  constructor(title: string, send: (order: PartOf<Order>) => void) {
    this.#title = title;
    this.#send = send;
    this.ended = this.#end.promise;
    this.ended.catch(() => {});
  }

  /** Its output so far. */
  get stdout(): string {
    return Buffer.concat(this.#output.stdout).toString();
  }
  get stderr(): string {
    return Buffer.concat(this.#output.stderr).toString();
  }
  write(data: string | Buffer): void {
    const bytes = Buffer.from(data);
    for (let at = 0; at < bytes.length; at += piece)
      this.#send({ input: bytes.subarray(at, at + piece).toString("base64") });
  }
  endInput(): void {
    this.#send({ endOfInput: true });
  }
  /** Sends a signal to the command and what it started. */
  kill(signal: NodeJS.Signals): void {
    if (!this.#over) this.#send({ signal });
  }
  /** Calls `listener` with each piece of output. */
  onOutput(listener: (stream: "stdout" | "stderr", data: Buffer) => void): void {
    this.#listeners.add(listener);
  }

  /** Waits until one of its outputs has matched. @throws after `timeout` milliseconds, or when it ended without */
  async sees(pattern: RegExp, timeout = 60_000): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (why: string) =>
      reject(new Error(`${this.#title}: ${why} without ${pattern}:\n${this.stdout}${this.stderr}`));
    const look = () => {
      if (pattern.test(this.stdout) || pattern.test(this.stderr)) resolve();
    };
    const timer = setTimeout(() => fail(`${timeout} ms`), timeout);
    this.#listeners.add(look);
    look();
    this.ended.then(({ status }) => fail(`it ended with ${status}`), reject);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(look);
    }
  }

  /** For the station: an answer about this command. */
  take(answer: Exclude<Answer, { readonly ready: true }>): void {
    if ("status" in answer) {
      this.#over = true;
      this.#end.resolve({ status: answer.status, stdout: this.stdout, stderr: this.stderr });
      return;
    }
    const data = Buffer.from(answer.data, "base64");
    this.#output[answer.stream].push(data);
    for (const listener of this.#listeners) listener(answer.stream, data);
  }
  /** For the station: there will be no more answers. */
  lose(error: Error): void {
    this.#over = true;
    this.#end.reject(new Error(`${this.#title}: ${error.message}`));
  }
}
