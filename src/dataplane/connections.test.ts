import assert from "node:assert/strict";
import { beforeEach, it } from "node:test";
import { endpointRow, networkRows, peerRow, putNetwork } from "../../test/support/rows.ts";
import type { Backend } from "../model/service.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { RowKey, Store, Transaction } from "../store/store.ts";
import { keys } from "../store/tables.ts";
import { Connections } from "./connections.ts";

const net = networkRows({ number: 1 });
const network = { ...net.network, scope: "cluster" } as const;
const rows = { network, pools: net.pools };
const client = endpointRow(rows, { member: 2 });
const peer = peerRow(rows, { member: 3, dataPath: "192.0.2.8" });
const backend: Backend = {
  taskId: "t1",
  serviceId: "s1",
  networkId: network.id,
  nodeId: peer.nodeId,
  name: "web.1.t1",
  addresses: peer.addresses.map(({ address }) => address),
};

let store: Store;
let connections: Connections;
let forgotten: string[];
beforeEach(async () => {
  [store, forgotten] = [createMemoryStore(), []];
  connections = new Connections({
    answering: () => [],
    forgetConnections: (namespace, addresses) => forgotten.push(`${namespace} ${addresses.join()}`),
  });
  await store.update((tx) => {
    putNetwork(tx, rows);
    tx.put("endpoints", client);
    tx.put("peers", peer);
    tx.put("backends", backend);
  });
});
/** @returns whose connections are forgotten with a commit */
async function after(changed: readonly RowKey[], change: (tx: Transaction) => void): Promise<string[]> {
  const before = store.snapshot();
  await store.update(change);
  connections.follow(before, { snapshot: store.snapshot(), changed });
  return forgotten.splice(0);
}
const ofPeer = { table: "peers", key: peer.id } as const;
const ofBackend = { table: "backends", key: keys.backends(backend) } as const;
const all = [`sandbox:${client.sandboxId} 10.1.0.3`];

it("a task that is taken out keeps its connections until its endpoint goes", async () => {
  assert.deepEqual(await after([ofBackend], (tx) => tx.delete("backends", ofBackend.key)), []);
  assert.deepEqual(await after([ofPeer], (tx) => tx.delete("peers", peer.id)), all);
});

it("a task whose endpoint went first is remembered no longer than that: who has its address next is nobody's task", async () => {
  assert.deepEqual(await after([ofPeer], (tx) => tx.delete("peers", peer.id)), all);
  assert.deepEqual(await after([ofBackend], (tx) => tx.delete("backends", ofBackend.key)), []);
  assert.deepEqual(await after([ofPeer], (tx) => tx.put("peers", peer)), []);
  assert.deepEqual(await after([ofPeer], (tx) => tx.delete("peers", peer.id)), []);
});

it("both at once, and a task whose node is lost", async () => {
  assert.deepEqual(await after([ofBackend], (tx) => tx.put("backends", { ...backend, isLost: true })), all);
  const both = await after([ofPeer, ofBackend], (tx) => {
    tx.delete("peers", peer.id);
    tx.delete("backends", ofBackend.key);
  });
  assert.deepEqual(both, all);
});
