import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterNode, revised } from "../../model/cluster.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { Store } from "../../store/store.ts";
import { clusterIn } from "../certificates.ts";
import { newSwarmId } from "../identity/names.ts";
import { renewalDefaults } from "../identity/renewal.ts";
import { Sessions } from "./sessions.ts";
import { clientOf, Worker } from "./sessions-testing.ts";
import { newCluster, newNode } from "../testing.ts";

/**
 * A manager's real code and so many workers, in one process over memory. Prints how long things took, in milliseconds, and
 * the memory of the process, in MiB: when it is empty, with the rows, and at the end with workers and manager.
 *   node simulation-testing.ts [WORKERS [ENDPOINTS]]
 */
async function simulate(count: number, endpoints: number): Promise<void> {
  const empty = mebibytes();
  const store = createMemoryStore();
  const nodes = Array.from({ length: count }, () => newNode());
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const node of nodes) tx.insert("nodes", node);
  });
  await addEndpoints(store, endpoints);
  await sleep(rest);
  const rows = mebibytes();
  const simulation = new Simulation(store);
  const times = await simulation.measure(nodes.map(({ id }) => id));
  const ready = store.snapshot().list("nodes").filter(isReady).length;
  const memory = { empty, rows, all: mebibytes() };
  process.stdout.write(`${JSON.stringify({ ...times, ready, memory })}\n`);
  await simulation.end();
}

const rest = 500; // milliseconds in which what is under way ends
const period = 5000; // milliseconds between two beats of a worker
const changes = 11; // of the cluster's row
const mebibytes = () => Math.round(process.memoryUsage().rss / 2 ** 20);
const isReady = ({ status }: ClusterNode) => status.state === "ready";

class Simulation {
  readonly #store: Store;
  readonly #sessions: Sessions;
  readonly #workers: Worker[] = [];
  readonly #heard = new Set<Worker>();
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  #all = Promise.withResolvers<void>();

  constructor(store: Store) {
    this.#store = store;
    const failed = (error: unknown) => {
      throw error;
    };
    const after = (milliseconds: number, call: () => void) => renewalDefaults.after(milliseconds, call);
    this.#sessions = new Sessions({ store, self: newSwarmId(), now: Date.now, after, failed });
    this.#running = this.#sessions.run(this.#end.signal);
    const beat = setInterval(() => this.#workers.forEach((worker) => worker.beat()), period);
    this.#end.signal.addEventListener("abort", () => clearInterval(beat));
  }

  /** `changed` is the median, `slowest` the longest; `uninterested`: how many have heard of a change of another one's row. */
  async measure(ids: readonly string[]) {
    const registered = await this.#untilAllHeard(ids.length, () => this.#register(ids));
    await sleep(rest);
    const times: number[] = [];
    while (times.length < changes) times.push(await this.#untilAllHeard(ids.length, () => this.#changeCluster()));
    times.sort((a, b) => a - b);
    await sleep(rest);
    this.#heard.clear();
    await this.#changeNode(ids[0] ?? "");
    await sleep(rest);
    const [changed = NaN, slowest = NaN] = [times[Math.floor(changes / 2)], times.at(-1)];
    return { registered, changed, slowest, uninterested: this.#heard.size - 1 };
  }

  async end(): Promise<void> {
    for (const worker of this.#workers) worker.end();
    this.#end.abort();
    await this.#running;
  }

  #register(ids: readonly string[]): void {
    for (const id of ids) {
      const worker: Worker = new Worker(clientOf(this.#sessions, id), () => this.#hear(worker, ids.length));
      this.#workers.push(worker);
    }
  }

  #hear(worker: Worker, count: number): void {
    if (worker.received.splice(0).at(-1)?.case !== "changes") return;
    this.#heard.add(worker);
    if (this.#heard.size === count) this.#all.resolve();
  }

  /** @returns milliseconds until every worker has heard a message of rows */
  async #untilAllHeard(count: number, begin: () => unknown): Promise<number> {
    this.#heard.clear();
    this.#all = Promise.withResolvers();
    const since = performance.now();
    await begin();
    if (count > 0) await this.#all.promise;
    return Math.round(performance.now() - since);
  }

  #changeCluster() {
    return this.#store.update((tx) => {
      const cluster = clusterIn(tx);
      tx.put("clusters", revised(cluster, { spec: { ...cluster.spec, autolock: !cluster.spec.autolock } }, Date.now()));
    });
  }
  #changeNode(id: string) {
    return this.#store.update((tx) => {
      const row = tx.get("nodes", id) as ClusterNode;
      tx.put("nodes", revised(row, { labels: { a: "b" } }, Date.now()));
    });
  }
}

const batch = 500; // rows of a table in one commit

/** Endpoints on networks with a hundred each, and the claims of their addresses. */
export async function addEndpoints(store: Store, count: number): Promise<void> {
  for (let from = 0; from < count; from += batch)
    await store.update((tx) => {
      for (let number = from; number < Math.min(from + batch, count); number += 1) {
        const row = endpoint(number);
        tx.insert("endpoints", row);
        const address = row.addresses[0]?.address ?? "";
        tx.insert("claims", { pool: `${row.networkId}/10.0.0.0/24`, address, kind: "endpoint", owner: row.id });
      }
    });
}

function endpoint(number: number): Endpoint {
  const id = (kind: string, of = number) => createHash("sha256").update(`${kind} ${of}`).digest("hex");
  const [containerId, name] = [id("container"), `web.${number}.${id("task").slice(0, 25)}`];
  const byte = (number % 100) + 2;
  const row: Endpoint = {
    id: id("endpoint"),
    networkId: id("network", Math.floor(number / 100)),
    sandboxId: containerId,
    containerId,
    containerName: name,
    mac: `02:42:0a:00:00:${byte.toString(16).padStart(2, "0")}`,
    interfaceName: "eth0",
    addresses: [{ address: `10.0.0.${byte}`, prefix: 24, gateway: "10.0.0.1" }],
    linkLocal: [],
    names: [name, "web", containerId.slice(0, 12)],
    ports: [],
    sysctls: {},
    gatewayPriority: 0,
  };
  return JSON.parse(JSON.stringify(row)) as Endpoint; // as rows of etcd are: no two share a string
}

if (import.meta.main) {
  const [workers = "1000", endpoints = "0"] = process.argv.slice(2);
  await simulate(Number(workers), Number(endpoints));
}
