import { join } from "node:path";
import type { Dataplane } from "../dataplane/dataplane.ts";
import { type Kernel, KernelError } from "../kernel/kernel.ts";
import { programSocket } from "../kernel/wireguard/program-device.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import { type Program, type Supervised, supervise } from "../runtime/supervisor.ts";
import type { Snapshot, Store } from "../store/store.ts";

export interface WireguardGoParts {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly dataplane: Dataplane;
  /** Where its pidfile and its messages go. */
  readonly directory: string;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const pause = 5000; // milliseconds until it is started again when it did not start

class WireguardGo {
  readonly #parts: WireguardGoParts;
  readonly #stopped = new AbortController();
  #following: Promise<void> | undefined;
  #supervised: Supervised | undefined;

  constructor(parts: WireguardGoParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#following = this.#follow();
  }

  /** Looks no longer; the program goes on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#following;
    await this.#supervised?.stop({ end: false });
  }

  async #follow(): Promise<void> {
    for await (const { snapshot } of this.#parts.store.watch(this.#stopped.signal)) await this.#look(snapshot);
  }

  async #look(rows: Snapshot): Promise<void> {
    const link = linkIn(rows);
    const running = this.#supervised;
    if (link === undefined && running !== undefined) {
      this.#supervised = undefined;
      await running.stop({ end: true });
    }
    if (link !== undefined && running === undefined && (await this.#isNeeded(link, rows.revision)))
      await this.#run(link);
  }

  /** The kernel was asked for its own by then, and has said what it has. */
  async #isNeeded(link: string, revision: number): Promise<boolean> {
    const { dataplane, kernel } = this.#parts;
    try {
      await dataplane.settled(encryptedUnderlay, revision, this.#stopped.signal);
    } catch (error) {
      const isMissing = error instanceof KernelError && /^E(?:OP)?NOTSUPP$/.test(error.code);
      if (isMissing && kernel.link(encryptedUnderlay, link) === undefined) return true;
    }
    return kernel.link(encryptedUnderlay, link)?.type === "tun";
  }

  async #run(link: string): Promise<void> {
    const { dataplane, directory, log } = this.#parts;
    log.warn(
      {},
      "this kernel has no WireGuard: encrypted networks go through wireguard-go, which is many times slower",
    );
    const again = () => dataplane.tryAgain();
    const program = supervise(wireguardGoProgram(link, directory), log, again);
    this.#supervised = program;
    try {
      await program.start();
      again();
    } catch (err) {
      log.warn({ err }, "encrypted networks end with this host: wireguard-go does not start");
      this.#supervised = undefined;
      const later = setTimeout(() => void this.#look(this.#parts.store.snapshot()), pause).unref();
      this.#stopped.signal.addEventListener("abort", () => clearTimeout(later), { once: true });
    }
  }
}

/**
 * wireguard-go, as long as this host takes part in an encrypted network and its kernel has no WireGuard. It outlives the
 * daemon, with its key and its peers; it ends when its device goes, which the data plane takes away with the last network.
 */
export function startWireguardGo(parts: WireguardGoParts): { stop(): Promise<void> } {
  const program = new WireguardGo(parts);
  program.start();
  return program;
}

/** The WireGuard link that networks of this host want, if any does. */
const linkIn = (rows: Snapshot): string | undefined =>
  rows
    .list("networks")
    .map(({ tunnel }) => tunnel?.encryption?.link)
    .find((link) => link !== undefined);

/** It makes a TUN device of that name in this namespace, and asks at its socket for all that is secret. */
function wireguardGoProgram(link: string, directory: string): Program {
  return {
    name: "wireguard-go",
    socket: programSocket(link),
    pidfile: join(directory, "wireguard-go.pid"),
    command: ["wireguard-go", "-f", link],
    logFile: join(directory, "wireguard-go.log"),
  };
}
