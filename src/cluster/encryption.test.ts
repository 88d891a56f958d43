import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { idOf, networkRows } from "../../test/support/rows.ts";
import type { ClusterNode, NodeWireguard } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { attach, detach, movePeers } from "./attachments.ts";
import { wireguardAddress, wireguardPort } from "./encryption.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { Sessions } from "./manager/sessions.ts";
import { clientOf, Worker } from "./manager/sessions-testing.ts";
import { description, newCluster, newNode } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./calls/wire.ts";

const newKey = () => randomBytes(32).toString("base64");
const keysOf = (...generations: number[]): NodeWireguard => ({
  by: "kernel",
  keys: generations.map((generation) => ({ generation, publicKey: newKey() })),
  sends: generations[0] ?? 0,
});
const at = (number: number) => {
  const address = `192.0.2.${number}`;
  const status = { state: "ready", message: "", address, session: `s${number}` } as const;
  return { hostname: `h${number}`, status, addresses: { advertise: address, dataPath: address } };
};
const wishOf = (number: number, network: string) => ({
  network,
  endpointId: idOf("e", number),
  containerId: idOf("5", number),
  containerName: `c${number}`,
  names: [],
});
const { network, pools } = networkRows({ number: 1, driver: "overlay" });
const { network: plain, pools: plainPools } = networkRows({ number: 2, driver: "overlay" });
const cluster = newCluster();

async function clusterOf(...nodes: ClusterNode[]): Promise<Store> {
  const store = createMemoryStore();
  await store.update((tx) => {
    tx.insert("clusters", cluster);
    for (const node of nodes) tx.insert("nodes", node);
    const attachable = { attachable: true };
    tx.insert("networks", { ...network, isEncrypted: true, spec: { ...network.spec, ...attachable } });
    tx.insert("networks", { ...plain, spec: { ...plain.spec, ...attachable } });
    for (const pool of [...pools, ...plainPools]) tx.insert("pools", pool);
  });
  return store;
}

async function settled(): Promise<void> {
  for (let n = 0; n < 20; n++) await turn();
}

it("nodes have addresses of their own in a range of their cluster's own, and keys of two generations two ports", () => {
  const range = (address: string) => address.split(":").slice(0, 3).join(":");
  const [one, two] = [wireguardAddress("c1", "n1"), wireguardAddress("c1", "n2")];
  assert.match(one, /^fd[0-9a-f]{2}:/);
  assert.equal(one, wireguardAddress("c1", "n1"));
  assert.notEqual(one, two);
  assert.equal(range(one), range(two));
  assert.notEqual(range(wireguardAddress("c2", "n1")), range(one));
  assert.deepEqual(
    [1, 2, 3].map((generation) => wireguardPort(4789, generation)),
    [4793, 4794, 4793],
  );
});

it("a node's address in WireGuard goes with its endpoints of encrypted networks, and leaves them with its keys", async () => {
  const node = newNode({ ...at(2), wireguard: keysOf(1) });
  const store = await clusterOf(node);
  await store.update((tx) => {
    attach(tx, node.id, wishOf(1, network.id));
    attach(tx, node.id, wishOf(2, plain.id));
  });
  const addressOf = (number: number) => store.snapshot().get("peers", idOf("e", number))?.wireguardAddress;
  const address = wireguardAddress(cluster.id, node.id);
  assert.deepEqual([addressOf(1), addressOf(2)], [address, undefined]);
  const before = store.snapshot();
  await store.update((tx) => movePeers(tx, { ...node, wireguard: keysOf(1, 2) }));
  assert.equal(store.snapshot().revision, before.revision, "other keys change no endpoint");
  const { wireguard: _, ...without } = node;
  await store.update((tx) => movePeers(tx, without));
  assert.equal(addressOf(1), undefined);
  await store.close();
});

it("an endpoint of an encrypted network is refused where nothing encrypts, with the mend", async () => {
  const nodes = [
    newNode({ ...at(2), wireguard: { ...keysOf(1), by: "none" } }),
    newNode(at(3)),
    newNode({ ...at(4), wireguard: { ...keysOf(1), by: "wireguard-go" } }),
  ] as const;
  const store = await clusterOf(...nodes);
  const on = (node: ClusterNode, network: string) => store.update((tx) => attach(tx, node.id, wishOf(1, network)));
  const lack = /^encrypted networks are not possible on node h2: .*module wireguard.*package wireguard-go/;
  await assert.rejects(on(nodes[0], network.id), { class: "not-implemented", message: lack });
  await assert.rejects(on(nodes[1], network.id), /on node h3: an older version runs there/);
  await on(nodes[0], plain.id);
  await store.update((tx) => detach(tx, nodes[0].id, [idOf("e", 1)]));
  await on(nodes[2], network.id);
  await store.close();
});

it("keys on the wire are 32 bytes each, two at most, the older first", () => {
  const read = (wireguard: NodeWireguard) =>
    descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, wireguard }))).wireguard;
  for (const said of [keysOf(), keysOf(7), { ...keysOf(7, 8), by: "wireguard-go" }] as const)
    assert.deepEqual(read(said), said);
  assert.equal(descriptionFromWire(create(DescriptionSchema, descriptionToWire(description))).wireguard, undefined);
  const key = newKey();
  for (const bad of ["x", `${key}=`, key.slice(4), randomBytes(33).toString("base64"), `${"A".repeat(42)}B=`])
    assert.throws(() => read({ ...keysOf(), keys: [{ generation: 1, publicKey: bad }] }), { class: "invalid" }, bad);
  for (const bad of [keysOf(0), keysOf(2, 1), keysOf(1, 1), keysOf(1, 2, 3)])
    assert.throws(() => read(bad), { class: "invalid" });
});

it("a node cannot register with another's key, nor say it later", async () => {
  const [one, two] = [newNode(), newNode()];
  const store = await clusterOf(one, two);
  const sessions = new Sessions({ store, self: "m", now: () => 0, after: () => () => {}, failed: () => {} });
  const wireguard = keysOf(1, 2);
  const said = (node: ClusterNode) => store.snapshot().get("nodes", node.id)?.wireguard;
  const first = new Worker(clientOf(sessions, one.id), undefined, { wireguard });
  await settled();
  assert.deepEqual(said(one), wireguard);
  const elsewhere = { advertise: "192.0.2.3", dataPath: "192.0.2.3" };
  const stolen = { ...keysOf(3), keys: [{ generation: 3, publicKey: wireguard.keys[1]?.publicKey ?? "" }] };
  const theft = new RegExp(`the WireGuard key is node ${one.id}'s`);
  const second = new Worker(clientOf(sessions, two.id), undefined, { wireguard: stolen, addresses: elsewhere });
  await assert.rejects(second.ended, theft);
  assert.equal(said(two), undefined);
  const third = new Worker(clientOf(sessions, two.id), undefined, { wireguard: keysOf(1), addresses: elsewhere });
  await settled();
  const value = descriptionToWire({ ...description, wireguard: stolen, addresses: elsewhere });
  third.say({ body: { case: "description", value } });
  await assert.rejects(third.ended, theft);
  first.end();
  const isDown = (address: string) =>
    store.update((tx) => {
      const row = tx.get("nodes", one.id);
      if (row !== undefined) tx.put("nodes", { ...row, status: { ...row.status, state: "down", address } });
    });
  const fourth = () => new Worker(clientOf(sessions, two.id), undefined, { wireguard: stolen, addresses: elsewhere });
  await isDown("192.0.2.99");
  await assert.rejects(fourth().ended, theft);
  // Who comes from where it was may be the same host, as another node.
  await isDown(store.snapshot().get("nodes", two.id)?.status.address ?? "");
  const again = fourth();
  await settled();
  assert.deepEqual(said(two), stolen);
  again.end();
  await store.close();
});

it("keys go to the nodes that share an encrypted network, when they come to share it and when they change, and to no other", async () => {
  const wish = { wireguard: keysOf(1) };
  const nodes = [2, 3, 4].map((number) => newNode(at(number)));
  const [one, two, three] = nodes as [ClusterNode, ClusterNode, ClusterNode];
  const store = await clusterOf(...nodes);
  const sessions = new Sessions({ store, self: "m", now: () => 0, after: () => () => {}, failed: () => {} });
  const stop = new AbortController();
  const running = sessions.run(stop.signal);
  const workers = nodes.map(
    ({ id, addresses, hostname }, index) =>
      new Worker(clientOf(sessions, id, "", addresses.dataPath), undefined, {
        addresses,
        hostname,
        wireguard: index === 0 ? wish.wireguard : keysOf(1),
      }),
  );
  const keysHeard = async () => {
    await settled();
    return workers.map((worker) =>
      (worker.rows() as [string, string, unknown][]).flatMap(([table, key, end]) =>
        table === "ends" ? [[nodes.findIndex(({ id }) => id === key) + 1, end !== undefined]] : [],
      ),
    );
  };
  assert.deepEqual(await keysHeard(), [[], [], []]);
  const on = (node: ClusterNode, number: number, id: string) =>
    store.update((tx) => attach(tx, node.id, wishOf(number, id)));
  await on(one, 1, network.id);
  await on(three, 2, plain.id);
  await on(one, 3, plain.id);
  await keysHeard();
  await on(two, 4, network.id);
  const [first = [], second = [], third = []] = await keysHeard();
  assert.deepEqual(
    [first.filter(([node]) => node === 2), second.filter(([node]) => node === 1)],
    [[[2, true]], [[1, true]]],
  );
  assert.deepEqual(third, []);
  const said = { ...description, addresses: one.addresses, hostname: "h2", wireguard: keysOf(1, 2) };
  workers[0]?.say({ body: { case: "description", value: descriptionToWire(said) } });
  const [, changed, uninterested] = await keysHeard();
  assert.deepEqual([changed, uninterested], [[[1, true]], []]);
  // A change of something else is told to nobody.
  await store.update((tx) => tx.put("nodes", { ...(tx.get("nodes", one.id) ?? one), labels: { a: "b" } }));
  assert.deepEqual((await keysHeard())[1], []);
  for (const worker of workers) worker.end();
  stop.abort();
  await running;
  await store.close();
});
