import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { idOf, networkRows } from "../../test/support/rows.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { attach, movePeers } from "./attachments.ts";
import { wireguardAddress, wireguardRange } from "./encryption.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { Sessions } from "./sessions.ts";
import { clientOf, Worker } from "./sessions-testing.ts";
import { description, newCluster, newNode } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./wire.ts";

const newKey = () => randomBytes(32).toString("base64");

it("nodes have addresses of their own in a range of their cluster's own", () => {
  const range = wireguardRange("c1");
  assert.match(range, /^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::\/48$/);
  const [one, two] = [wireguardAddress("c1", "n1"), wireguardAddress("c1", "n2")];
  assert.equal(one, wireguardAddress("c1", "n1"));
  assert.notEqual(one, two);
  for (const address of [one, two]) assert.ok(address.startsWith(range.replace("::/48", ":")), address);
  assert.notEqual(wireguardRange("c2"), range);
});

it("a node's public key goes with its endpoints, and leaves them with it", async () => {
  const store = createMemoryStore();
  const node = newNode({ wireguardKey: newKey() });
  const { network, pools } = networkRows({ number: 1, driver: "overlay" });
  const endpointId = idOf("e", 1);
  const names = { containerId: idOf("5", 1), containerName: "c", names: [] };
  const cluster = newCluster();
  const peer = () => store.snapshot().get("peers", endpointId);
  await store.update((tx) => {
    tx.insert("clusters", cluster);
    tx.insert("nodes", node);
    tx.insert("networks", { ...network, spec: { ...network.spec, attachable: true } });
    for (const pool of pools) tx.insert("pools", pool);
    attach(tx, node.id, { network: network.id, endpointId, ...names });
  });
  const address = wireguardAddress(cluster.id, node.id);
  assert.deepEqual(peer()?.wireguard, { publicKey: node.wireguardKey, address });
  const before = peer();
  await store.update((tx) => movePeers(tx, node));
  assert.equal(peer(), before, "nothing is written where nothing has changed");
  const wireguardKey = newKey();
  await store.update((tx) => movePeers(tx, { ...node, wireguardKey }));
  assert.deepEqual(peer()?.wireguard, { publicKey: wireguardKey, address });
  const { wireguardKey: _, ...without } = node;
  await store.update((tx) => movePeers(tx, without));
  assert.ok(!Object.hasOwn(peer() ?? {}, "wireguard"));
  await store.close();
});

it("a key on the wire is 32 bytes, or none", () => {
  const read = (wireguardKey: string) =>
    descriptionFromWire(create(DescriptionSchema, { ...descriptionToWire(description), wireguardKey })).wireguardKey;
  const key = newKey();
  assert.equal(read(key), key);
  assert.equal(read(""), undefined);
  for (const bad of ["x", `${key}=`, key.slice(4), randomBytes(33).toString("base64"), `${"A".repeat(42)}B=`])
    assert.throws(() => read(bad), { class: "invalid" }, bad);
});

it("a node cannot register with another's key", async () => {
  const store = createMemoryStore();
  const [one, two] = [newNode(), newNode()];
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const node of [one, two]) tx.insert("nodes", node);
  });
  const parts = { store, self: "m", now: () => 0, after: () => () => {}, failed: () => {} };
  const sessions = new Sessions(parts);
  const wireguardKey = newKey();
  const first = new Worker(clientOf(sessions, one.id), undefined, { wireguardKey });
  for (let n = 0; n < 20; n++) await turn();
  assert.equal(store.snapshot().get("nodes", one.id)?.wireguardKey, wireguardKey);
  const elsewhere = { advertise: "192.0.2.3", dataPath: "192.0.2.3" };
  const second = new Worker(clientOf(sessions, two.id), undefined, { wireguardKey, addresses: elsewhere });
  await assert.rejects(second.ended, new RegExp(`the WireGuard key is node ${one.id}'s`));
  assert.equal(store.snapshot().get("nodes", two.id)?.wireguardKey, undefined);
  first.end();
  await store.close();
});
