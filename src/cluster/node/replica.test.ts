import assert from "node:assert/strict";
import { it } from "node:test";
import type { Endpoint } from "../../model/endpoint.ts";
import { type Network, plainSpec } from "../../model/network.ts";
import type { Peer } from "../../model/peer.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { Batch } from "./agent.ts";
import { Replica } from "./replica.ts";
import { fileReference, newBackend, newFile, newTask, newVirtualService } from "../task-testing.ts";
import { newCluster } from "../testing.ts";
import { type PublicCluster, publicPart } from "../../model/cluster.ts";

const encode = (row: object) => new TextEncoder().encode(JSON.stringify(row));
const row = (table: string, key: string, value?: object): Batch["changes"][number] => ({
  table,
  key,
  ...(value !== undefined && { row: encode(value) }),
});
const network = (id: string, name = id): Network => ({
  id,
  scope: "cluster",
  spec: { ...plainSpec, name, driver: "overlay", attachable: true },
  pools: [`${id}/10.20.0.0/16`],
  predefined: false,
  vni: 4097,
  createdAt: "",
});
const pool = (networkId: string) => ({
  id: `${networkId}/10.20.0.0/16`,
  networkId,
  subnet: "10.20.0.0/16",
  range: "10.20.0.0/16",
  gateway: "10.20.0.1",
  userSubnet: true,
});
const peer = (id: string, networkId: string, nodeId: string): Peer => ({
  id,
  networkId,
  nodeId,
  containerId: id,
  containerName: id,
  hostname: nodeId,
  dataPath: "192.0.2.7",
  mac: "02:00:00:00:00:01",
  addresses: [],
  names: [id],
});
const whole = (id: string, ...peers: Peer[]) => [
  row("networks", id, network(id)),
  row("pools", pool(id).id, pool(id)),
  ...peers.map((one) => row("peers", one.id, one)),
];
const batch = (changes: Batch["changes"], more = false, snapshot = false): Batch => ({ changes, more, snapshot });

function begin() {
  const store = createMemoryStore();
  let mtu = 1450;
  const missing: string[] = [];
  const clusters: (PublicCluster | undefined)[] = [];
  const onCluster = (cluster: PublicCluster | undefined) => void clusters.push(cluster);
  const replica = new Replica({ store, tunnelMtu: () => mtu, onCluster });
  replica.onMissing = (ids) => missing.push(...ids);
  replica.begin({ nodeId: "me", dataPath: "192.0.2.1", clusterId: "c" });
  const names = () =>
    store
      .snapshot()
      .list("networks")
      .map(({ id }) => id);
  const peers = () =>
    store
      .snapshot()
      .list("peers")
      .map(({ id }) => id);
  const join = (id: string, networkId: string) =>
    store.update((tx) =>
      tx.insert("endpoints", {
        id,
        networkId,
        sandboxId: "s",
        containerId: "s",
        addresses: [] as Endpoint["addresses"],
      } as Endpoint),
    );
  const setMtu = (value: number) => {
    mtu = value;
  };
  return { store, replica, names, peers, join, setMtu, missing, clusters };
}

const keyOfRow = (of: object) => {
  const { id, taskId, serviceId, networkId } = of as Readonly<Record<string, string>>;
  return id ?? `${taskId ?? serviceId}|${networkId}`;
};

it("keeps networks with this host's end of the tunnel, and the endpoints of others; a snapshot counts when it is whole", async () => {
  const { store, replica, names, peers } = begin();
  const clusters = row("clusters", "c", publicPart(newCluster({ dataPathPort: 7777 })));
  await replica.receive(batch([clusters, row("networks", "n1", network("n1"))], true, true));
  assert.deepEqual(names(), []);
  await replica.receive(batch([...whole("n1", peer("p1", "n1", "other"), peer("p2", "n1", "me")).slice(1)]));
  assert.deepEqual([names(), peers()], [["n1"], ["p1"]]);
  assert.deepEqual(store.snapshot().get("networks", "n1")?.tunnel, { udpPort: 7777, local: "192.0.2.1", mtu: 1450 });
  assert.equal(store.snapshot().get("names", "network|n1")?.id, "n1");
});

it("what a snapshot has not goes, and what it does not know of this host is asked for again", async () => {
  const { replica, names, peers, join, missing } = begin();
  await replica.receive(batch([...whole("n1", peer("p1", "n1", "other")), ...whole("n2")], false, true));
  await join("e1", "n1");
  await replica.receive(batch(whole("n3"), false, true));
  assert.deepEqual([names(), peers(), missing], [["n1", "n3"], [], ["e1"]]);
});

it("a network stays while a container is on it, or comes", async () => {
  const { replica, names, join } = begin();
  for (const id of ["n1", "n2", "n3"]) await replica.receive(batch(whole(id)));
  await join("e1", "n1");
  replica.hold("e2", "n2");
  assert.deepEqual(replica.endpoints(), new Set(["e1", "e2"]));
  await replica.receive(batch(["n1", "n2", "n3"].map((id) => row("networks", id))));
  assert.deepEqual(names(), ["n1", "n2"]);
  replica.letGo("e2");
  await replica.receive(batch([row("networks", "n2")]));
  assert.deepEqual(names(), ["n1"]);
});

it("when the host leaves its swarm, nothing stays for what is still being asked for", async () => {
  const { replica, names } = begin();
  await replica.receive(batch(whole("n1")));
  replica.hold("e1", "n1");
  await replica.clear();
  assert.deepEqual([names(), replica.endpoints()], [[], new Set()]);
});

it("a network of the host's own keeps its name", async () => {
  const { store, replica } = begin();
  await store.update((tx) => tx.insert("names", { kind: "network", name: "n1", id: "local" }));
  await replica.receive(batch(whole("n1")));
  assert.equal(store.snapshot().get("names", "network|n1")?.id, "local");
  await replica.receive(batch([row("networks", "n1")]));
  assert.equal(store.snapshot().get("names", "network|n1")?.id, "local");
});

it("follows the link's MTU, and keeps the port before a manager has said it", async () => {
  const { store, replica, setMtu } = begin();
  await store.update((tx) =>
    tx.insert("networks", { ...network("n1"), tunnel: { udpPort: 7777, local: "192.0.2.1", mtu: 1450 } }),
  );
  setMtu(1350);
  await replica.measure();
  assert.deepEqual(store.snapshot().get("networks", "n1")?.tunnel, { udpPort: 7777, local: "192.0.2.1", mtu: 1350 });
});

it("keeps what can be reached on a network as long as the network, and its own tasks", async () => {
  const { store, replica } = begin();
  const [task, other] = [newTask({ id: "t1", nodeId: "me" }), newTask({ id: "t2", nodeId: "me" })];
  const [service, backend] = [newVirtualService("n1", "s1"), newBackend("n1", task)];
  const rows = () => {
    const all = store.snapshot();
    return (["tasks", "virtualServices", "backends"] as const).flatMap((table) => all.list(table).map(keyOfRow));
  };
  const shown = [row("virtualServices", "s1|n1", service), row("backends", "t1|n1", backend)];
  const tasks = [task, other].map((one) => row("tasks", one.id, one));
  await replica.receive(batch([...whole("n1"), ...shown, ...tasks], false, true));
  assert.deepEqual(rows(), ["t1", "t2", "s1|n1", "t1|n1"]);
  await replica.receive(batch([row("tasks", "t2"), row("backends", "t1|n1")]));
  assert.deepEqual(rows(), ["t1", "s1|n1"]);
  await replica.receive(batch([...shown, row("networks", "n1")]));
  assert.deepEqual(rows(), ["t1"]);
  await replica.receive(batch([...whole("n1"), ...shown.slice(1), row("tasks", "t2", other)], false, true));
  assert.deepEqual(rows(), ["t2", "t1|n1"]);
});

it("knows better than a manager how its own tasks are", async () => {
  const { store, replica } = begin();
  const task = newTask({ id: "t", nodeId: "me" });
  await replica.receive(batch([row("tasks", "t", task)]));
  const status = { state: "running", at: 5, message: "started", error: "" } as const;
  await store.update((tx) => tx.put("tasks", { ...task, status }));
  await replica.receive(batch([row("tasks", "t", { ...task, desired: "shutdown" })], false, true));
  const { desired, status: now } = store.snapshot().get("tasks", "t") ?? task;
  assert.deepEqual([desired, now], ["shutdown", status]);
});

it("secrets, configs and what is shown to registries are never on the disk", async () => {
  const { store, replica } = begin();
  const told: string[] = [];
  replica.onFiles = () => told.push("came");
  const [secret, config] = [newFile({ id: "x", data: "hush" }), newFile({ id: "y", data: "hush" })];
  const task = newTask({ id: "t", nodeId: "me" }, { secrets: [fileReference(secret)], registryAuth: "hush" });
  const changes = [row("secrets", "x", secret), row("configs", "y", config), row("tasks", "t", task)];
  await replica.receive(batch(changes, true, true));
  assert.deepEqual([replica.file("secrets", "x"), told], [undefined, []]); // not before all of it is there
  await replica.receive(batch([]));
  assert.deepEqual([replica.file("secrets", "x"), replica.file("configs", "y"), told], [secret, config, ["came"]]);
  assert.equal(replica.registryAuth("t"), "hush");
  assert.ok(!JSON.stringify(store.snapshot().list("tasks")).includes("hush"));
  assert.equal(store.snapshot().get("tasks", "t")?.template.registryAuth, "");
  assert.deepEqual([...store.snapshot().list("secrets"), ...store.snapshot().list("configs")], []);
  await replica.receive(batch([row("secrets", "x")]));
  assert.deepEqual([replica.file("secrets", "x"), replica.file("configs", "y"), told.length], [undefined, config, 1]);
  await replica.receive(batch([row("tasks", "t", task)], false, true));
  assert.equal(replica.file("configs", "y"), undefined);
  await replica.clear();
  assert.deepEqual([replica.registryAuth("t"), store.snapshot().list("tasks")], [undefined, []]);
});

it("keeps nothing when the swarm was left", async () => {
  const { store, replica, names } = begin();
  await replica.receive(batch(whole("n1"), false, true));
  await replica.clear();
  assert.deepEqual(names(), []);
  await assert.rejects(
    store.update((tx) => replica.keep(tx, { network: network("n1"), pools: [] })),
    { class: "unavailable" },
  );
});

it("keeps nothing when its node was removed, containers first; and is that node still", async () => {
  const { store, replica, names, peers, join, clusters } = begin();
  const known = [row("clusters", "c", publicPart(newCluster())), row("tasks", "t", newTask({ id: "t", nodeId: "me" }))];
  await replica.receive(batch([...known, ...whole("n1", peer("p1", "n1", "other"))], false, true));
  await join("e1", "n1");
  replica.onRemoved = async () => {
    assert.deepEqual([names(), peers()], [["n1"], ["p1"]]);
    await store.update((tx) => tx.delete("endpoints", "e1"));
  };
  await replica.removed(new AbortController().signal);
  assert.deepEqual([names(), peers(), store.snapshot().list("tasks")], [[], [], []]);
  assert.equal(clusters.at(-1), undefined);
  await replica.receive(batch(whole("n1", peer("e2", "n1", "me")), false, true));
  assert.deepEqual([names(), peers()], [["n1"], []], "its own endpoints are no other host's");
  replica.onRemoved = async () => {};
  await replica.removed(AbortSignal.abort());
  assert.deepEqual(names(), ["n1"], "it has left meanwhile: what is there is another swarm's");
});

it("keeps the other hosts' ends of WireGuard as long as they have endpoints here, and tells of the cluster after its rows", async () => {
  const { store, replica, clusters } = begin();
  const end = (id: string) =>
    row("ends", id, { id, address: "fd00::1", keys: [{ generation: 1, publicKey: "k" }], sends: 1 });
  const ends = () =>
    store
      .snapshot()
      .list("ends")
      .map(({ id }) => id);
  const cluster = row("clusters", "c", publicPart(newCluster()));
  const peers = [peer("p1", "n1", "a"), peer("p2", "n1", "b"), peer("p3", "n1", "me")];
  await replica.receive(batch([cluster, ...whole("n1", ...peers), end("a"), end("b"), end("me")], false, true));
  assert.deepEqual([ends(), clusters[0]?.keyRotation], [["a", "b"], { generation: 1, isKnown: false }]);
  // One container after the other on the same host, in one message.
  await replica.receive(batch([row("peers", "p1"), row("peers", "p4", peer("p4", "n1", "a"))]));
  assert.deepEqual(ends(), ["a", "b"]);
  await replica.receive(batch([row("peers", "p4")]));
  assert.deepEqual(ends(), ["b"]);
  await replica.receive(batch(whole("n1", peer("p2", "n1", "b")), false, true));
  assert.deepEqual(ends(), []);
  await replica.receive(batch([end("b")]));
  await replica.receive(batch([row("networks", "n1")]));
  assert.deepEqual(ends(), []);
  await replica.clear();
  assert.equal(clusters.at(-1), undefined);
});

it("has an encrypted network go through WireGuard", async () => {
  const { store, replica } = begin();
  await replica.receive(batch([row("networks", "n1", { ...network("n1"), isEncrypted: true })]));
  const { address, mtu } = store.snapshot().get("networks", "n1")?.tunnel?.encryption ?? {};
  assert.match(address ?? "", /^fd/);
  assert.equal(mtu, 1440);
});
