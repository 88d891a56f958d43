import assert from "node:assert/strict";
import { it } from "node:test";
import { type Cluster, type ClusterNode, publicPart } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Snapshot } from "../store/store.ts";
import {
  becomesKnown,
  beginKeys,
  firstKeys,
  isDue,
  isRotated,
  nodesAway,
  nodesBehind,
  withKnownKeys,
  withNextKeys,
} from "./key-rotation.ts";
import { newCluster, newNode } from "./testing.ts";

const node = (hostname: string, state: ClusterNode["status"]["state"], sends: number, ...generations: number[]) =>
  newNode({
    hostname,
    status: { state, message: "", address: "" },
    wireguard: { by: "kernel", sends, keys: generations.map((generation) => ({ generation, publicKey: hostname })) },
  });
async function rowsOf(...nodes: ClusterNode[]): Promise<Snapshot> {
  const store = createMemoryStore();
  await store.update((tx) => nodes.forEach((one) => tx.insert("nodes", one)));
  return store.snapshot();
}
const names = (nodes: readonly ClusterNode[]) => nodes.map(({ hostname }) => hostname).toSorted();
const first = newCluster({ keyRotation: { ...firstKeys(1000), every: 60_000 } });
const second = withNextKeys(withKnownKeys(first, 1000), 5000);
const known: Cluster = withKnownKeys(second, 6000);

it("goes to the next generation, which is known when every node at work has said its key", async () => {
  assert.deepEqual(second.keyRotation, { generation: 2, isKnown: false, since: 5000, every: 60_000 });
  assert.equal(second.version, first.version, "nobody's `docker swarm update` is out of sequence by it");
  const older = newNode({ hostname: "older", status: { state: "ready", message: "", address: "" } });
  const some = await rowsOf(node("a", "ready", 1, 1, 2), node("b", "ready", 1, 1), node("c", "down", 1, 1), older);
  assert.equal(becomesKnown(some, second), false);
  assert.deepEqual(names(nodesBehind(some, second)), ["b"]);
  const all = await rowsOf(node("a", "ready", 1, 1, 2), node("b", "ready", 1, 1, 2), node("c", "down", 1, 1), older);
  assert.equal(becomesKnown(all, second), true);
  assert.equal(becomesKnown(all, known), false, "it is noted once");
  assert.deepEqual(names(nodesAway(all, known)), ["c"]);
});

it("is done when every node at work sends by it, and not before it is known", async () => {
  const half = await rowsOf(node("a", "ready", 2, 1, 2), node("b", "ready", 1, 1, 2), node("c", "down", 1, 1));
  assert.deepEqual([isRotated(half, known), names(nodesBehind(half, known))], [false, ["b"]]);
  const all = await rowsOf(node("a", "ready", 2, 2), node("b", "ready", 2, 1, 2), node("c", "down", 1, 1));
  assert.equal(isRotated(all, known), true);
  assert.equal(isRotated(all, second), false);
});

it("is due by age, after the last one is done, and never when that is said", async () => {
  const all = await rowsOf(node("a", "ready", 2, 2));
  const half = await rowsOf(node("a", "ready", 1, 1, 2));
  assert.equal(isDue(all, known, 5000 + 59_999), false);
  assert.equal(isDue(all, known, 5000 + 60_000), true);
  assert.equal(isDue(half, known, 5000 + 60_000), false);
  assert.equal(isDue(all, { ...known, keyRotation: { ...known.keyRotation, every: 0 } }, 1e12), false);
});

it("begins in a cluster whose row says nothing of keys, and in no other", async () => {
  const store = createMemoryStore();
  const { keyRotation: _, ...old } = newCluster();
  await store.update((tx) => tx.insert("clusters", old as Cluster));
  await store.update((tx) => beginKeys(tx, 7000));
  const begun = store.snapshot().list("clusters")[0];
  assert.deepEqual(begun?.keyRotation, firstKeys(7000));
  assert.equal(begun && publicPart(begun).keyRotation?.generation, 1);
  await store.update((tx) => beginKeys(tx, 8000));
  assert.equal(store.snapshot().list("clusters")[0], begun);
});
