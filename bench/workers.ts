import { Agent } from "../src/cluster/node/agent.ts";
import { ControlClient, joinCalls } from "../src/cluster/calls/control-client.ts";
import { createRequest, newKey } from "../src/cluster/identity/csr.ts";
import { parseToken } from "../src/cluster/identity/token.ts";
import { descriptionToWire } from "../src/cluster/calls/wire.ts";
import type { NodeDescription } from "../src/model/cluster.ts";

/** Orders, which are answered with a number when they are done; `all` comes when every worker has heard rows. */
export type Word = "join" | "register" | "listen" | "heard" | "lost" | "all";

/** So many are under way at a time. All of them share one processor here, which hosts do not. */
const atOnce = 20;

const description: NodeDescription = {
  hostname: "worker",
  platform: { os: "linux", architecture: "x86_64" },
  resources: { nanoCpus: 2e9, memoryBytes: 4e9 },
  engineVersion: "0.1.0",
  engineLabels: {},
  drivers: [{ type: "Network", name: "bridge" }],
  addresses: { advertise: "192.0.2.2", dataPath: "192.0.2.2" },
};

/** Many nodes' ends in one process, without their daemons: they join, hold their streams and beat as nodes do. */
class Workers {
  readonly #address: string;
  readonly #token: string;
  readonly #count: number;
  readonly #clients: ControlClient[] = [];
  readonly #heard = new Set<ControlClient>();
  #lost = 0;
  readonly orders: Readonly<Record<Exclude<Word, "all">, () => Promise<number> | number>> = {
    join: () => this.#join(),
    register: () => this.#register(),
    listen: () => this.#listen(),
    heard: () => this.#heard.size,
    lost: () => this.#lost,
  };

  constructor(address: string, token: string, count: number) {
    this.#address = address;
    this.#token = token;
    this.#count = count;
  }

  async #join(): Promise<number> {
    await this.#each(async (at) => void (this.#clients[at] = await this.#joinOne()));
    return this.#clients.length;
  }

  async #each(work: (at: number) => Promise<void>): Promise<void> {
    let next = 0;
    const one = async () => {
      while (next < this.#count) await work(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, one));
  }

  async #joinOne(): Promise<ControlClient> {
    const signal = AbortSignal.timeout(60_000);
    const { calls, close } = await joinCalls(this.#address, parseToken(this.#token).digest, signal);
    const key = newKey();
    const request = { token: this.#token, csr: createRequest(key), description: descriptionToWire(description) };
    const { certificate, roots } = await calls.issueCertificate(request, { signal }).finally(close);
    return new ControlClient([this.#address], { key, certificate, roots });
  }

  async #register(): Promise<number> {
    await this.#each((at) => this.#begin(this.#clients[at] as ControlClient, `198.18.${at >> 8}.${at & 255}`));
    return this.#clients.length;
  }

  /** Resolves when it has its first rows. */
  #begin(client: ControlClient, dataPath: string): Promise<void> {
    const nothing = () => {};
    const { promise, resolve } = Promise.withResolvers<void>();
    const connected = () => {
      this.#hear(client);
      resolve();
    };
    const lost = async () => void (this.#lost += 1);
    const done = async () => {};
    const heard = {
      managers: nothing,
      standing: nothing,
      cluster: nothing,
      rows: done,
      settled: done,
      logsWanted: done,
    };
    const described = { ...description, addresses: { ...description.addresses, dataPath } };
    async function* tasks() {}
    new Agent(client, { describe: () => described, endpoints: () => [], tasks }, { ...heard, connected, lost }).start();
    return promise;
  }

  #listen(): number {
    this.#heard.clear();
    this.#lost = 0;
    return 0;
  }

  #hear(client: ControlClient): void {
    const isNew = !this.#heard.has(client);
    this.#heard.add(client);
    if (isNew && this.#heard.size === this.#count) process.send?.(["all", this.#count]);
  }
}

/** `node bench/workers.ts ADDRESS TOKEN COUNT`, with a channel over which the orders come; ends with it. */
const [address = "", token = "", count] = process.argv.slice(2);
const { orders } = new Workers(address, token, Number(count));
process.once("disconnect", () => process.exit());
process.on("message", (word: keyof typeof orders) => {
  void Promise.resolve(orders[word]()).then((value) => process.send?.([word, value]));
});
