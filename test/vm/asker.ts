import { join } from "node:path";
import { clone } from "./guest-files.ts";
import type { Background } from "./station.ts";
import type { TomboloHost } from "./tombolo.ts";

/** Asks an address from inside a container's sandbox, and holds what it has begun (inside/asker.ts). */
export class Asker {
  readonly #job: Background;
  #answers = 0;

  private constructor(job: Background) {
    this.#job = job;
  }

  static async start(host: TomboloHost, container: string, address: string, port: number): Promise<Asker> {
    const key = await host.docker(`inspect -f '{{.NetworkSettings.SandboxKey}}' ${container}`);
    const program = ["node", join(clone, "test/vm/inside/asker.ts"), address, String(port)];
    return new Asker(host.host.spawn(["nsenter", `--net=${key}`, ...program], { input: "open" }));
  }

  /** Begins a connection. @returns who answers */
  open = () => this.#ask("open");
  /** Ends the connections to one. @returns how many there were */
  close = (name: string) => this.#ask(`close ${name}`);
  /** Says something on a connection to one. @returns what comes back, or how the connection ended */
  say = (name: string) => this.#ask(`say ${name}`);
  /** Sends datagrams, always from the same port. @returns who answers */
  datagram = () => this.#ask("datagram");
  end(): void {
    this.#job.endInput();
  }

  async #ask(order: string): Promise<string> {
    this.#answers += 1;
    this.#job.write(`${order}\n`);
    await this.#job.sees(new RegExp(`^(?:.*\n){${this.#answers}}`));
    return this.#job.stdout.split("\n")[this.#answers - 1] ?? "";
  }
}
