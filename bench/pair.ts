import { execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Engine } from "./engine.ts";

const ip = (namespace: string, ...args: string[]) => execFileSync("nsenter", [`--net=${namespace}`, "ip", ...args]);

/** Two daemons of one kind, each on a host of its own, and a cable between the hosts. */
export class Pair implements AsyncDisposable {
  /** Addresses of the hosts. */
  readonly addresses = ["192.0.2.1", "192.0.2.2"] as const;
  readonly first: Engine;
  readonly second: Engine;

  private constructor(name: string, parent: string, command: readonly string[]) {
    const directory = join(parent, name);
    mkdirSync(directory, { recursive: true });
    this.first = new Engine("1", directory, command);
    this.second = new Engine("2", directory, command);
  }

  /** Nothing is left of it when that fails. */
  static async start(name: string, parent: string, command: readonly string[]): Promise<Pair> {
    const pair = new Pair(name, parent, command);
    try {
      pair.#connect();
      for (const engine of pair.#engines) {
        await engine.start();
        await engine.warm();
      }
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  get #engines(): readonly [Engine, Engine] {
    return [this.first, this.second];
  }

  #connect(): void {
    const holder = spawn("nsenter", [`--net=${this.second.namespace}`, "sleep", "60"]);
    execFileSync("sleep", ["0.1"]);
    const far = ["peer", "name", "eth0", "netns", `${holder.pid}`];
    ip(this.first.namespace, "link", "add", "eth0", "type", "veth", ...far);
    holder.kill("SIGKILL");
    for (const [at, { namespace }] of this.#engines.entries()) {
      ip(namespace, "address", "add", `${this.addresses[at]}/24`, "dev", "eth0");
      ip(namespace, "link", "set", "eth0", "up");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.#engines) {
      await engine.call("POST", "/v1.41/swarm/leave?force=1").catch(() => {});
      await engine.clean();
    }
  }
}
