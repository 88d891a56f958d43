import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dataplane } from "../dataplane/dataplane.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { forgetSilence, programSocket } from "../kernel/wireguard/program-device.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import { endLeftOver, type Program, type Supervised, supervise } from "../runtime/supervisor.ts";
import type { Snapshot, Store } from "../store/store.ts";

export interface WireguardGoParts {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly dataplane: Pick<Dataplane, "tryAgain">;
  /** Where its pidfiles and its messages go. */
  readonly directory: string;
  /** The links that keys are used with. */
  readonly links: readonly string[];
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const pause = 5000; // milliseconds until it is started again when it did not start
/** Milliseconds between questions, and until an answer; one that has missed so many stands still. */
const [asking, patience, misses] = [3000, 3000, 2];

interface Running {
  readonly supervised: Supervised;
  missed: number;
}

/**
 * wireguard-go, one for each link that this host's networks want and its kernel cannot make. It outlives the daemon, with its key
 * and its peers, and is started again when it has ended or stands still; with its link it ends.
 */
export class WireguardGo {
  readonly #parts: WireguardGoParts;
  readonly #stopped = new AbortController();
  readonly #running = new Map<string, Running>();
  /** By links: what is to start waits until the one before has ended. */
  readonly #lock = new KeyedLock();
  /** Links that are about to be wanted. */
  readonly #ahead = new Set<string>();
  #following: Promise<unknown> | undefined;
  #hasWarned = false;

  constructor(parts: WireguardGoParts) {
    this.#parts = parts;
  }

  start(): void {
    const { signal } = this.#stopped;
    this.#endStrays();
    this.#following = Promise.all([this.#follow(signal), this.#watch(signal)]);
  }

  /** Looks no longer; the programs go on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#following;
    for (const { supervised } of this.#running.values()) await supervised.stop({ end: false });
  }

  /** Runs `write`, by which a link comes to be wanted, once its program answers. @throws {EngineError} system when that does not start */
  async ahead(link: string, write: () => Promise<void>): Promise<void> {
    if (!this.#isNeeded(link)) return write();
    this.#ahead.add(link);
    try {
      await this.#run(link);
      await write();
    } finally {
      this.#ahead.delete(link);
      this.#look();
    }
  }

  /** Those of an earlier daemon that ended before it could say that it wanted them. */
  #endStrays(): void {
    const wanted = linksIn(this.#parts.store.snapshot());
    for (const link of this.#parts.links)
      if (!wanted.has(link)) this.#lock.run(link, () => endLeftOver(this.#program(link))).catch(this.#hasNotEnded);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const { changed } of this.#parts.store.watch(signal))
      if (changed.some(({ table }) => table === "networks" || table === "ownEnds")) this.#look();
  }

  #wanted = () => linksIn(this.#parts.store.snapshot()).union(this.#ahead);

  #look(): void {
    const wanted = this.#wanted();
    for (const link of this.#running.keys()) if (!wanted.has(link)) this.#end(link).catch(this.#hasNotEnded);
    for (const link of wanted) if (!this.#running.has(link) && this.#isNeeded(link)) void this.#keepTrying(link);
  }

  #hasNotEnded = (error: unknown) =>
    this.#parts.log.warn({ err: error }, "a wireguard-go that no network wants did not end");

  #end(link: string): Promise<void> {
    return this.#lock.run(link, async () => {
      const running = this.#running.get(link);
      if (running === undefined || this.#wanted().has(link)) return;
      this.#running.delete(link);
      await running.supervised.stop({ end: true });
      await endLeftOver(this.#program(link)); // that of an earlier daemon
    });
  }

  #isNeeded(link: string): boolean {
    const { kernel } = this.#parts;
    const type = kernel.link(encryptedUnderlay, link)?.type;
    return type === undefined ? !kernel.hasWireguard() : type === "tun";
  }

  async #keepTrying(link: string): Promise<void> {
    try {
      await this.#run(link);
      this.#parts.dataplane.tryAgain();
    } catch (err) {
      if (this.#stopped.signal.aborted) return;
      this.#parts.log.warn({ err }, "encrypted networks end with this host: wireguard-go does not start");
      const later = setTimeout(() => this.#look(), pause).unref();
      this.#stopped.signal.addEventListener("abort", () => clearTimeout(later), { once: true });
    }
  }

  #run(link: string): Promise<void> {
    return this.#lock.run(link, async () => {
      if (this.#running.has(link)) return;
      const supervised = this.#supervise(link);
      this.#running.set(link, { supervised, missed: 0 });
      try {
        await supervised.start();
      } catch (error) {
        this.#running.delete(link);
        throw error;
      }
    });
  }

  #supervise(link: string): Supervised {
    const { dataplane, log } = this.#parts;
    if (!this.#hasWarned)
      log.warn(
        {},
        "this kernel has no WireGuard: encrypted networks go through wireguard-go, which is many times slower",
      );
    this.#hasWarned = true;
    return supervise(this.#program(link), log, () => {
      forgetSilence(link);
      dataplane.tryAgain();
    });
  }

  /** What stands still encrypts nothing, and lets nothing out; killed, it is started again. */
  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(asking, undefined, { signal, ref: false }).catch(() => {});
      await Promise.all([...this.#running].map(([link, running]) => this.#ask(link, running)));
    }
  }

  async #ask(link: string, running: Running): Promise<void> {
    running.missed = (await standsStill(programSocket(link))) ? running.missed + 1 : 0;
    if (running.missed < misses || this.#stopped.signal.aborted) return;
    running.missed = 0;
    this.#parts.log.warn({ link }, "wireguard-go stands still: it is ended and started again");
    running.supervised.restart();
  }

  /** It makes a TUN device of that name in this namespace, and asks at its socket for all that is secret. */
  #program(link: string): Program {
    const { directory } = this.#parts;
    return {
      name: "wireguard-go",
      socket: programSocket(link),
      pidfile: join(directory, `${link}.pid`),
      command: ["wireguard-go", "-f", link],
      logFile: join(directory, `${link}.log`),
    };
  }
}

/** The WireGuard links that networks of this host want. */
function linksIn(rows: Snapshot): Set<string> {
  const isEncrypting = rows.list("networks").some(({ tunnel }) => tunnel?.encryption !== undefined);
  const keys = isEncrypting ? rows.list("ownEnds").flatMap((own) => own.keys) : [];
  return new Set(keys.map(({ link }) => link));
}

/** True when somebody listens at a socket and does not answer to a question about nothing. */
function standsStill(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(socket);
  // Before it is late, what came is read: it may have been this process that stood still.
  const late = setTimeout(() => setImmediate(() => resolve(!probe.connecting)), patience).unref();
  probe.once("connect", () => probe.write("set=1\n\n"));
  probe.once("data", () => resolve(false));
  probe.once("close", () => resolve(false));
  probe.once("error", () => resolve(false));
  return promise.finally(() => {
    clearTimeout(late);
    probe.destroy();
  });
}
