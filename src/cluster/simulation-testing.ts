import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterNode, revised } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { clusterIn } from "./certificates.ts";
import { newSwarmId } from "./identity/names.ts";
import { renewalDefaults } from "./identity/renewal.ts";
import { Sessions } from "./sessions.ts";
import { clientOf, Worker } from "./sessions-testing.ts";
import { newCluster, newNode } from "./testing.ts";

/** A manager's real code and so many workers, in one process over memory: prints how long things took, in milliseconds. */
const count = Number(process.argv[2] ?? 1000);
const store = createMemoryStore();
const nodes = Array.from({ length: count }, () => newNode());
await store.update((tx) => {
  tx.insert("clusters", newCluster());
  for (const node of nodes) tx.insert("nodes", node);
});
const now = () => Date.now();
const after = (milliseconds: number, call: () => void) => renewalDefaults.after(milliseconds, call);
const failed = (error: unknown) => {
  throw error;
};
const sessions = new Sessions({ store, self: newSwarmId(), now, after, failed });
const end = new AbortController();
const running = sessions.run(end.signal);

/** Resolves with the time that it took until every worker has heard a message of rows. */
let heard: (worker: Worker) => void = () => {};
async function untilAllHeard(begin: () => unknown): Promise<number> {
  const left = Promise.withResolvers<void>();
  const those = new Set<Worker>();
  heard = (worker) => {
    if (worker.received.at(-1)?.case !== "changes") return;
    those.add(worker);
    if (those.size === count) left.resolve();
  };
  const since = performance.now();
  await begin();
  await left.promise;
  return Math.round(performance.now() - since);
}
const workers: Worker[] = [];
const registered = await untilAllHeard(() => {
  for (const { id } of nodes) {
    const worker: Worker = new Worker(clientOf(sessions, id), () => heard(worker));
    workers.push(worker);
  }
});
await sleep(500);
const changed = await untilAllHeard(() =>
  store.update((tx) => {
    const cluster = clusterIn(tx);
    tx.put("clusters", revised(cluster, { spec: { ...cluster.spec, autolock: true } }, now()));
  }),
);
const ready = store
  .snapshot()
  .list("nodes")
  .filter(({ status }) => status.state === "ready").length;
await sleep(500);
for (const worker of workers) worker.received.length = 0;
await store.update((tx) => {
  const row = tx.get("nodes", nodes[0]?.id ?? "") as ClusterNode;
  tx.put("nodes", revised(row, { labels: { a: "b" } }, now()));
});
await sleep(200);
const uninterested = workers.slice(1).filter(({ received }) => received.length > 0).length;
const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
process.stdout.write(`${JSON.stringify({ registered, changed, ready, uninterested, mebibytes })}\n`);
for (const worker of workers) worker.end();
end.abort();
await running;
