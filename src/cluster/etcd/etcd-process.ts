import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { system, unavailable } from "../../lib/errors.ts";
import { KeyedLock } from "../../lib/keyed-lock.ts";
import { beginProgram, endProgram, findProgram, keepLooking, type LastingProgram } from "../../lib/lasting-program.ts";
import { type EtcdOptions, etcdFlags, files, hurry } from "./etcd-flags.ts";
import { managerName } from "../identity/names.ts";

/** PEM of etcd's own CA. */
export interface MemberCredentials {
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

const poll = 20; // milliseconds
const patience = { answer: 1000, farewell: 3000, end: 5000 } as const; // milliseconds

/**
 * A manager's etcd. It outlives the daemon, which finds it again by its pid and its command line; it is started again
 * when it ends, and ended for good by `leave`.
 */
export class EtcdProcess {
  #options: EtcdOptions;
  readonly #log: Log;
  readonly #stopped = new AbortController();
  #credentials: MemberCredentials;
  readonly #lock = new KeyedLock();
  #watching: Promise<void> | undefined;

  constructor(options: EtcdOptions, credentials: MemberCredentials, log: Log) {
    this.#options = options;
    this.#credentials = credentials;
    this.#log = log;
  }

  /**
   * Finds the running etcd or starts it, and looks after it from then on. It may not answer yet: see `ready`.
   * @throws {EngineError} system when it does not start
   */
  async start(): Promise<void> {
    await mkdir(this.#options.runDirectory, { recursive: true, mode: 0o700 });
    await this.#writeCredentials();
    if (this.#isWished()) this.#log.info({}, "etcd: found running");
    else await this.#launch();
    const look = () => this.#lock.run("", () => this.#revive());
    const failed = (err: unknown) => this.#log.warn({ err }, "etcd does not start");
    this.#watching = keepLooking(look, failed, this.#stopped.signal);
  }

  /**
   * Resolves when etcd answers. It answers none while there is no majority.
   * @param signal also the time to wait
   * @throws {EngineError} unavailable when the signal comes first
   */
  async ready(signal: AbortSignal): Promise<void> {
    while (!(await this.#answers())) {
      if (signal.aborted) throw unavailable("etcd does not answer: too few managers may be online");
      await sleep(poll);
    }
    // A member that is started again later must not put out those that joined since.
    this.#options = { ...this.#options, beginning: { kind: "again" } };
  }

  /**
   * Others are about to come: a member that began alone is started again, in no hurry any more.
   * @throws {EngineError} system when it does not start
   */
  async expectOthers(): Promise<void> {
    await this.#lock.run("", async () => {
      const found = findProgram(etcdIn(this.#options));
      if (found?.command.includes(hurry[1]) === true) await this.#launch();
    });
  }

  /** etcd reads the files at each new connection; those that are open go on. */
  async exchange(credentials: MemberCredentials): Promise<void> {
    this.#credentials = credentials;
    await this.#writeCredentials();
  }

  /** Looks no longer; etcd goes on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#watching;
  }

  /**
   * Waits until etcd has ended by itself, as it does a second after its vote was taken, at most three. By then the others know it: one of two
   * that is not told asks for the other's vote for ever.
   */
  async farewell(): Promise<void> {
    await this.stop();
    for (const end = performance.now() + patience.farewell; performance.now() < end; await sleep(poll))
      if (findProgram(etcdIn(this.#options)) === undefined) return;
  }

  /** Ends etcd and removes its data, certificate and key: the node is no manager any more. */
  async leave(): Promise<void> {
    await this.stop();
    await removeEtcd(this.#options);
  }

  #path = (name: string) => join(this.#options.runDirectory, name);

  async #writeCredentials(): Promise<void> {
    for (const name of Object.keys(files) as (keyof typeof files)[]) {
      const path = this.#path(files[name]);
      await writeFile(`${path}.new`, this.#credentials[name], { mode: 0o600 });
      await rename(`${path}.new`, path);
    }
  }

  async #revive(): Promise<void> {
    if (findProgram(etcdIn(this.#options)) !== undefined) return;
    this.#log.warn({}, "etcd ended: starting it again");
    await this.#launch();
  }

  /** Started, and still there when it has read its flags and files. */
  async #launch(): Promise<void> {
    await endEtcd(this.#options);
    const { lasting, beginning } = etcdFlags(this.#options);
    // Variables named ETCD_… would be flags.
    const env = { PATH: process.env["PATH"] ?? "" };
    const ended = beginProgram(etcdIn(this.#options), ["etcd", ...lasting, ...beginning], env);
    const reason = await Promise.race([ended, this.#listens()]);
    if (reason !== undefined) throw system(`etcd does not start: ${reason}`);
  }

  /** Resolves when it answers, or after a second: without a majority it answers none. */
  async #listens(): Promise<undefined> {
    for (const end = Date.now() + patience.answer; Date.now() < end; await sleep(poll))
      if (await this.#answers()) return;
  }

  #isWished(): boolean {
    const found = findProgram(etcdIn(this.#options));
    if (found === undefined || this.#options.beginning.kind === "force-new") return false;
    return etcdFlags(this.#options).lasting.every((flag) => found.command.includes(flag));
  }

  #answers(): Promise<boolean> {
    const { certificate, key, root } = this.#credentials;
    const { clientPort } = this.#options;
    return new Promise((resolve) => {
      const tls = { cert: certificate, key, ca: root, servername: managerName, agent: false };
      const url = `https://127.0.0.1:${clientPort}/health`;
      const asked = request(url, { ...tls, timeout: patience.answer }, (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      });
      asked.once("timeout", () => asked.destroy());
      asked.once("error", () => resolve(false)).once("close", () => resolve(false));
      asked.end();
    });
  }
}

export type EtcdDirectories = Pick<EtcdOptions, "dataDirectory" | "runDirectory">;
const etcdIn = ({ dataDirectory, runDirectory }: EtcdDirectories): LastingProgram => ({
  pidfile: join(runDirectory, "etcd.pid"),
  marks: [`--data-dir=${dataDirectory}`],
  logFile: join(runDirectory, "etcd.log"),
});

/** Ends the etcd that has these directories, if one runs. */
export const endEtcd = (directories: EtcdDirectories): Promise<void> => endProgram(etcdIn(directories), patience.end);

/** Ends the etcd that has these directories, if one runs, and removes them. */
export async function removeEtcd(directories: EtcdDirectories): Promise<void> {
  await endEtcd(directories);
  for (const path of [directories.dataDirectory, directories.runDirectory])
    await rm(path, { recursive: true, force: true });
}
