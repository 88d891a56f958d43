import assert from "node:assert/strict";
import { it } from "node:test";
import type { ClusterNode } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { attach, type AttachWish, detach, keepOnly } from "./attachments.ts";
import { closeNetwork, openIngress, openNetwork } from "./networks.ts";
import { newTask } from "./task-testing.ts";
import { newCluster, newNode } from "./testing.ts";

const id = (letter: string, number: number) => letter + String(number).padStart(63, "0");
const ready: ClusterNode["status"] = { state: "ready", message: "", address: "192.0.2.1", session: "s" };
const spec = {
  name: "net",
  driver: "overlay",
  options: {},
  labels: {},
  ipv4: true,
  ipv6: false,
  ipam: { driver: "default", options: {}, subnets: [{ subnet: "10.20.0.0/29", auxiliary: {} }] },
  internal: false,
  attachable: true,
  ingress: false,
  configOnly: false,
};
const open = { severalSubnets: false, others: [], lenientCidr: false, createdAt: "" };

async function cluster() {
  const store = createMemoryStore();
  const nodes = ["h1", "h2"].map((hostname, at) =>
    newNode({ hostname, status: ready, addresses: { advertise: `192.0.2.${at + 1}`, dataPath: `192.0.2.${at + 1}` } }),
  );
  const [h1, h2] = nodes as [ClusterNode, ClusterNode];
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const node of nodes) tx.insert("nodes", node);
    openIngress(tx, 0);
    openNetwork(tx, { ...open, spec });
  });
  const wish = (number: number, more: Partial<AttachWish> = {}): AttachWish => ({
    network: "net",
    endpointId: id("e", number),
    containerId: id("c", number),
    containerName: `c${number}`,
    names: [`c${number}`],
    ...more,
  });
  const on = async (node: ClusterNode, number: number, more: Partial<AttachWish> = {}) =>
    (await store.update((tx) => attach(tx, node.id, wish(number, more)))).result.peer;
  return { store, h1, h2, on };
}

it("of two ingress networks that are asked for at once there is one", async () => {
  const { store } = await cluster();
  const second = store.update((tx) => openNetwork(tx, { ...open, spec: { ...spec, name: "mine", ingress: true } }));
  await assert.rejects(second, /^EngineError: ingress network \([0-9a-z]{25}\) is already present$/);
});

it("addresses are claimed over all nodes; what was asked before is answered again, with the names of now", async () => {
  const { h1, h2, on } = await cluster();
  const first = await on(h1, 1);
  assert.deepEqual(
    [first.addresses, first.dataPath, first.hostname],
    [[{ address: "10.20.0.2", prefix: 29 }], "192.0.2.1", "h1"],
  );
  assert.equal((await on(h2, 2)).addresses[0]?.address, "10.20.0.3");
  assert.deepEqual(await on(h1, 1, { names: ["other"] }), { ...first, names: ["other"] });
  await assert.rejects(on(h2, 1), /is another one's/);
  await assert.rejects(on(h2, 3, { ipv4: "10.20.0.2" }), /10\.20\.0\.2 is container c1's on node h1/);
  for (const number of [4, 5, 6]) await on(h1, number);
  await assert.rejects(on(h1, 7), /no available IPv4 addresses/);
});

it("a container that comes again, before it has gone, has its address once more, and nothing twice", async () => {
  const { store, h1, on } = await cluster();
  const { addresses, mac } = await on(h1, 1);
  await on(h1, 2);
  const again = await on(h1, 1, { endpointId: id("e", 9) });
  assert.deepEqual([again.addresses, again.mac], [addresses, mac]);
  const rows = store.snapshot();
  const owners = rows.list("claims").flatMap(({ kind, owner }) => (kind === "endpoint" ? owner : []));
  const peers = rows.list("peers").map((peer) => peer.id);
  assert.deepEqual(
    [owners.toSorted(), peers],
    [
      [id("e", 2), id("e", 9)],
      [id("e", 2), id("e", 9)],
    ],
  );
});

it("a MAC is one container's, and never a group's", async () => {
  const { h1, h2, on } = await cluster();
  const { mac } = await on(h1, 1, { mac: "02:00:00:00:00:01" });
  await assert.rejects(on(h2, 2, { mac }), /02:00:00:00:00:01 is container c1's on node h1/);
  await assert.rejects(on(h2, 3, { containerId: id("c", 1), mac }), /is container c1's/);
  for (const bad of ["ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01", "x"])
    await assert.rejects(on(h2, 4, { mac: bad }), /invalid MAC address/);
});

it("a node gives back its own alone, and all that it does not have any more", async () => {
  const { store, h1, h2, on } = await cluster();
  for (const number of [1, 2]) await on(h1, number);
  await on(h2, 3);
  await store.update((tx) => detach(tx, h2.id, [id("e", 1), id("e", 3), id("e", 9)]));
  const left = () =>
    store
      .snapshot()
      .list("peers")
      .map(({ containerName }) => containerName);
  assert.deepEqual(left(), ["c1", "c2"]);
  await store.update((tx) => keepOnly(tx, h1.id, new Set([id("e", 2)])));
  assert.deepEqual(left(), ["c2"]);
  assert.equal((await on(h2, 4)).addresses[0]?.address, "10.20.0.2");
});

it("who has no stream, a network that is not attachable and malformed wishes are refused", async () => {
  const { store, h1, on } = await cluster();
  await assert.rejects(on(h1, 1, { network: "ingress" }), /network ingress not manually attachable/);
  await assert.rejects(on(h1, 1, { network: "none" }), { class: "not-found" });
  await assert.rejects(on(h1, 1, { endpointId: "e" }), /64 hex digits/);
  await assert.rejects(on(h1, 1, { names: ["a\nb"] }), /malformed/);
  const { session: _, ...left } = ready;
  await store.update((tx) => tx.put("nodes", { ...h1, status: left }));
  await assert.rejects(on(h1, 1), /has no stream/);
  await store.update((tx) => tx.delete("nodes", h1.id));
  await assert.rejects(on(h1, 1), /was removed/);
});

it("a task is on the networks of its service, attachable or not, until it has ended", async () => {
  const { store, h1, h2, on } = await cluster();
  const networks = store.snapshot().list("networks");
  const [ingress, net] = ["ingress", "net"].map((name) => networks.find((one) => one.spec.name === name));
  assert.ok(ingress && net);
  const task = newTask(
    { nodeId: h1.id, isOnIngress: true },
    { networks: [{ network: net.id, aliases: [], driverOptions: {} }] },
  );
  const plain = newTask({ nodeId: h1.id });
  await store.update((tx) => {
    tx.put("networks", { ...net, spec: { ...net.spec, attachable: false } });
    for (const row of [task, plain]) tx.insert("tasks", row);
  });
  await assert.rejects(on(h1, 1), /network net not manually attachable/);
  await assert.rejects(on(h2, 1, { taskId: task.id }), new RegExp(`task ${task.id} is not this node's`));
  await assert.rejects(on(h1, 1, { taskId: "none" }), /task none is not this node's/);
  for (const network of ["net", "ingress"])
    await assert.rejects(
      on(h1, 1, { network, taskId: plain.id }),
      new RegExp(`is a task of service web, which is not on network ${network}: docker service update --network-add`),
    );
  const [first, second] = [
    await on(h1, 1, { taskId: task.id }),
    await on(h1, 2, { containerId: id("c", 1), network: "ingress", taskId: task.id }),
  ];
  const ended = { ...task, status: { ...task.status, state: "failed" } } as const;
  await store.update((tx) => tx.put("tasks", ended));
  assert.deepEqual(await on(h1, 1, { taskId: task.id }), first); // what it has it keeps
  await store.update((tx) => detach(tx, h1.id, [first.id, second.id]));
  await assert.rejects(on(h1, 1, { taskId: task.id }), /has ended: it does not run again/);
});

it("a node has one end of the ingress network, known by its MAC, and no container has such a one", async () => {
  const { store, h1, h2, on } = await cluster();
  const sandbox = { network: "ingress", isIngressSandbox: true } as const;
  const [one, two] = [await on(h1, 1, sandbox), await on(h2, 2, sandbox)];
  for (const { mac } of [one, two]) assert.match(mac, /^02:54:54(:[0-9a-f]{2}){3}$/);
  assert.notEqual(one.mac, two.mac);
  assert.deepEqual(await on(h1, 1, sandbox), one);
  await assert.rejects(on(h1, 3, sandbox), /has its end of network ingress already/);
  await assert.rejects(on(h1, 3, { ...sandbox, network: "net" }), /net is not that of published ports/);
  await assert.rejects(
    on(h1, 3, { mac: "02:54:54:00:00:01" }),
    /02:54:54:… are those by which published ports come in/,
  );
  await store.update((tx) => {
    tx.put("peers", { ...two, mac: one.mac });
    detach(tx, h1.id, [one.id]);
  });
  const again = await on(h1, 4, sandbox);
  assert.ok(again.mac.startsWith("02:54:54:") && again.mac !== one.mac, "the one of the other node is not used again");
});

it("networks have an identifier each, and end when nobody is on them", async () => {
  const { store, h1, on } = await cluster();
  const [ingress, net] = ["ingress", "net"].map((name) =>
    store
      .snapshot()
      .list("networks")
      .find((n) => n.spec.name === name),
  );
  assert.deepEqual([ingress?.vni, net?.vni], [4096, 4097]);
  const make = (name: string, subnet: string, vni?: number) =>
    store.update((tx) => {
      const ipam = { ...spec.ipam, subnets: [{ subnet, auxiliary: {} }] };
      return openNetwork(tx, { ...open, spec: { ...spec, name, ipam }, ...(vni !== undefined && { vni }) });
    });
  await assert.rejects(make("net", "10.21.0.0/16"), /already exists/);
  await assert.rejects(make("a", "10.20.0.0/16"), /overlaps with network net/);
  await assert.rejects(make("a", "10.0.0.0/8"), /overlaps with network (ingress|net) /);
  await assert.rejects(make("a", "192.0.2.0/24"), /overlaps with node h[12]'s address 192\.0\.2\.[12]/);
  await assert.rejects(make("a", "10.21.0.0/16", 4097), /4097 is network net's/);
  await on(h1, 1);
  const close = () => store.update((tx) => closeNetwork(tx, net?.id ?? ""));
  await assert.rejects(close(), /has active endpoints \(name:"c1" id:"e0{11}" on h1\)/);
  await store.update((tx) => keepOnly(tx, h1.id, new Set()));
  await close();
  assert.deepEqual(
    store
      .snapshot()
      .list("claims")
      .filter(({ pool }) => pool.startsWith(net?.id ?? "")),
    [],
  );
  assert.equal((await make("net", "10.20.0.0/29")).result.vni, 4097);
});
