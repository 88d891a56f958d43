import assert from "node:assert/strict";
import { test } from "node:test";
import { closeNetwork } from "../cluster/networks.ts";
import { overlay } from "../drivers/overlay/index.ts";
import { type Network, plainSpec } from "../model/network.ts";
import { createClusterNetwork, removeClusterNetwork } from "./cluster-networks.ts";
import { newSpec, newTask, onNetwork, playCluster, port } from "./cluster-testing.ts";
import { createNetworks } from "./networks.ts";
import type { Parts } from "./parts.ts";
import { createServices } from "./services.ts";

const rpc = (text: string) => ({ class: "invalid", message: `rpc error: code = FailedPrecondition desc = ${text}` });
const taskId = "ihayhath7961udf05w4232yso";

async function play() {
  const cluster = await playCluster();
  const services = createServices(cluster.parts);
  const shop = await cluster.network("shop");
  const peer = (containerName: string) => ({
    id: `e-${containerName}`,
    networkId: shop.id,
    containerId: "c",
    containerName,
    nodeId: cluster.manager.id,
    hostname: "h1",
    dataPath: "192.0.2.1",
    mac: `02:00:00:00:00:0${containerName.length % 10}`,
    addresses: [],
    names: [],
  });
  return { cluster, services, shop, peer };
}

test("a network that services are on cannot be removed, also without tasks", async () => {
  const { cluster, services, shop } = await play();
  const task = { networks: [onNetwork(shop.id)] };
  const id = await services.create(newSpec({ mode: { kind: "replicated", replicas: 0 }, task }));
  const remove = () => removeClusterNetwork(cluster.parts, shop);
  await assert.rejects(remove(), rpc(`network ${shop.id} is in use by service ${id}`));
  await services.remove(id);
  await remove();
  assert.equal(cluster.store.snapshot().get("networks", shop.id), undefined);
  const ingress = cluster.store
    .snapshot()
    .list("networks")
    .find(({ spec }) => spec.ingress);
  assert.ok(ingress);
  const published = await services.create(newSpec({ endpoint: { mode: "vip", ports: [port(8080)] } }));
  const needed = `ingress network cannot be removed because service ${published} depends on it`;
  await assert.rejects(removeClusterNetwork(cluster.parts, ingress), rpc(needed));
});

test("prune passes over a network that comes into use meanwhile, and goes on", async () => {
  const { cluster, services, shop } = await play();
  await cluster.network("unused");
  const { membership } = cluster.parts;
  const task = { networks: [onNetwork(shop.id)] };
  const update: typeof membership.update = async (change) => {
    if (cluster.store.snapshot().list("services").length === 0) await services.create(newSpec({ task }));
    return membership.update(change);
  };
  const parts = { ...cluster.parts, membership: { ...membership, update } } as Parts;
  assert.deepEqual(await createNetworks(parts).prune(new Map()), ["unused"]);
});

test("a network goes when the tasks of a service that is gone have ended, and is not waited for otherwise", async () => {
  const { cluster, shop, peer } = await play();
  const { store } = cluster;
  const task = peer(`web.1.${taskId}`);
  await store.update((tx) => {
    tx.insert("tasks", newTask(taskId, { serviceId: "gone" }));
    tx.insert("peers", task);
    tx.insert("peers", peer("box"));
  });
  await assert.rejects(removeClusterNetwork(cluster.parts, shop), { message: /has active endpoints \(.*name:"box"/ });
  await store.update((tx) => tx.delete("peers", "e-box"));
  let isGone = false;
  const removed = removeClusterNetwork(cluster.parts, shop).then(() => (isGone = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(isGone, false);
  await store.update((tx) => tx.delete("peers", task.id));
  await removed;
  assert.equal(store.snapshot().get("networks", shop.id), undefined);
});

test("a task that is to run keeps its network", async () => {
  const { cluster, services, shop, peer } = await play();
  const id = await services.create(newSpec());
  const { store } = cluster;
  await store.update((tx) => {
    tx.insert("tasks", newTask(taskId, { serviceId: id }));
    tx.insert("peers", peer(`web.1.${taskId}`));
  });
  await assert.rejects(removeClusterNetwork(cluster.parts, shop), { message: /has active endpoints/ });
});

test("a network's name is free at once after removal, whatever this host still has of it; not one of its own", async () => {
  const { cluster, shop } = await play();
  const parts = { ...cluster.parts, host: { routes: () => [] }, settings: { lenientCidr: false } } as unknown as Parts;
  const has = (network: Network) =>
    parts.store.update((tx) => {
      tx.put("networks", network);
      tx.put("names", { kind: "network", name: network.spec.name, id: network.id });
    });
  const create = () => createClusterNetwork(parts, { ...plainSpec, name: "shop", driver: "overlay" }, overlay);
  const taken = { class: "conflict", message: "network with name shop already exists" };
  await has(shop);
  await assert.rejects(create(), taken);
  await removeClusterNetwork(parts, shop);
  const { id } = await create();
  assert.notEqual(id, shop.id);
  assert.equal(cluster.store.snapshot().get("names", "network|shop")?.id, id);
  await cluster.store.update((tx) => closeNetwork(tx, id));
  await has({ ...shop, scope: "local" });
  await assert.rejects(create(), taken);
});
