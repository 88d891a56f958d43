import assert from "node:assert/strict";
import { after, it } from "node:test";
import { closeNetwork, openIngress } from "../cluster/networks.ts";
import { unavailable } from "../lib/errors.ts";
import { ingressMacPrefix } from "../lib/mac.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import { type Manager, type OnMessage, serveManager, startWorker, type Worker } from "./overlays-testing.ts";
import { until } from "../../test/support/until.ts";

const opened: { stop(): Promise<void> }[] = [];
after(() => Promise.all(opened.map((one) => one.stop())));

/** A manager whose swarm has an ingress network, and a node of it. */
async function swarm(onMessage: OnMessage = () => {}): Promise<readonly [Manager, Worker]> {
  const manager = await serveManager(onMessage);
  opened.unshift(manager); // whatever fails from here on
  await manager.store.update((tx) => openIngress(tx, Date.now()));
  const worker = await startWorker(manager, 1);
  opened.unshift(worker);
  worker.startIngress();
  return [manager, worker];
}
const legs = ({ store }: Worker) => store.snapshot().where("endpoints", "sandbox", ingressSandbox);
const ends = ({ store }: Manager) => store.snapshot().list("peers");
const ingressOf = ({ store }: Pick<Manager, "store">) =>
  store
    .snapshot()
    .list("networks")
    .find(({ spec }) => spec.ingress);

it("is made when the host knows of the ingress network, with a leg there and one on docker_gwbridge", async () => {
  const [manager, worker] = await swarm();
  await until(() => legs(worker).length === 2);
  const [end] = ends(manager);
  const inside = legs(worker).find(({ networkId }) => networkId === ingressOf(manager)?.id);
  const outside = legs(worker).find(({ isWayOut }) => isWayOut);
  assert.deepEqual([inside?.id, inside?.mac, inside?.addresses], [end?.id, end?.mac, end?.addresses]);
  assert.ok(inside?.mac.startsWith(ingressMacPrefix));
  assert.equal(outside?.addresses[0]?.gateway, "10.18.0.1");
  const sandbox = worker.store.snapshot().get("sandboxes", ingressSandbox);
  assert.deepEqual([sandbox?.gateway4, sandbox?.gateway6], [outside?.id, undefined]);
  await until(() => worker.settled());
  assert.deepEqual(await worker.audit(), []);
});

it("is another one when the ingress network is, and gone when there is none", async () => {
  const [manager, worker] = await swarm();
  await until(() => legs(worker).length === 2);
  const before = ingressOf(manager)?.id ?? "";
  await manager.store.update((tx) => closeNetwork(tx, before));
  await until(() => legs(worker).length === 0 && ingressOf(worker) === undefined);
  const rows = worker.store.snapshot();
  assert.equal(rows.get("sandboxes", ingressSandbox), undefined);
  // What is left of claims is the bridge's gateway.
  assert.deepEqual([rows.list("claims").map(({ kind }) => kind), ends(manager)], [["gateway"], []]);
  await manager.store.update((tx) => openIngress(tx, Date.now()));
  await until(() => legs(worker).length === 2);
  assert.notEqual(ingressOf(worker)?.id, before);
  await until(() => worker.settled());
  assert.deepEqual(await worker.audit(), []);
});

it("goes when the host leaves the swarm, and with it what was claimed", async () => {
  const [manager, worker] = await swarm();
  await until(() => legs(worker).length === 2);
  await worker.leave();
  assert.deepEqual([legs(worker), ingressOf(worker)], [[], undefined]);
  await until(() => ends(manager).length === 0);
  assert.deepEqual(await worker.audit(), []);
});

for (const when of ["before", "after"] as const)
  it(`comes about although the wire is cut ${when} its claim, once`, async () => {
    let cuts = 0;
    const [manager, worker] = await swarm((message, now) => {
      if (message !== "attach" || now !== when || cuts++ > 0) return;
      manager.wire.cut();
      setTimeout(() => manager.wire.heal(), 100);
      throw unavailable("the wire is cut");
    });
    await until(() => legs(worker).length === 2 && ends(manager).length === 1);
    const inside = legs(worker).find(({ isWayOut }) => !isWayOut);
    assert.deepEqual([ends(manager)[0]?.id, ends(manager)[0]?.addresses], [inside?.id, inside?.addresses]);
    assert.deepEqual(await worker.audit(), []);
  });

it("is claimed again where the cluster has forgotten it, with its addresses", async () => {
  const [manager, worker] = await swarm();
  await until(() => legs(worker).length === 2);
  const [was] = ends(manager);
  await manager.store.update((tx) => {
    for (const { pool, address } of tx.where("claims", "owner", was?.id ?? ""))
      tx.delete("claims", `${pool}|${address}`);
    tx.delete("peers", was?.id ?? "");
  });
  manager.wire.cut();
  manager.wire.heal();
  await until(() => ends(manager).length === 1);
  assert.deepEqual(ends(manager)[0], was);
});
