import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";
import { peerRow, networkRows, putContainer, putNetwork, deleteNetwork } from "../../test/support/rows.ts";
import { defaultBalancer } from "../balancers/index.ts";
import { drivers } from "../drivers/index.ts";
import { createFakeKernel, type FakeKernel } from "../kernel/fake/fake-kernel.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store, Transaction } from "../store/store.ts";
import { createDataplane } from "./create-dataplane.ts";
import type { Dataplane } from "./dataplane.ts";

const encryption = {
  link: "twg0123456789ab",
  publicKey: "mine",
  udpPort: 4793,
  address: "fd00:9::1",
  range: "fd00:9::/48",
  mtu: 1440,
};
const tunnel = { udpPort: 4789, local: "192.0.2.1", mtu: 1450 };
const secret = networkRows({
  number: 1,
  driver: "overlay",
  vni: 4097,
  tunnel: { ...tunnel, encryption },
  options: { encrypted: "" },
});
const plain = networkRows({ number: 2, driver: "overlay", vni: 4098, tunnel });
const dataPath = "192.0.2.7";
const wireguard = { publicKey: "theirs", address: "fd00:9::7" };
const there = peerRow(secret, { member: 4, dataPath, wireguard });
const alsoThere = peerRow(plain, { member: 5, dataPath, wireguard });

let kernel: FakeKernel;
let store: Store;
let dataplane: Dataplane;
beforeEach(async () => {
  kernel = createFakeKernel();
  store = createMemoryStore();
  const log = { info() {}, warn() {} };
  dataplane = createDataplane({ balancer: defaultBalancer, store, kernel, driverFor: (name) => drivers[name], log });
  await dataplane.start();
});
afterEach(async () => {
  await dataplane.stop();
  await store.close();
});
const commit = async (change: (tx: Transaction) => void) => {
  const { revision } = await store.update(change);
  await dataplane.settled(encryptedUnderlay, revision).catch(() => {});
};
const begin = (tx: Transaction) => {
  putNetwork(tx, secret);
  putContainer(tx, secret, { member: 2 });
  tx.put("peers", there);
};
const objects = (kind: string) =>
  [...kernel.state.values()].flatMap(({ object }) => (object.kind === kind ? object : []));
/** Who is let in to what, and where. */
const ends = () =>
  objects("element")
    .flatMap((o) => (o.kind === "element" && o.set === "tunnel_ends" ? `${o.namespace} ${o.key}` : []))
    .toSorted();
const plainEnd = `host ${dataPath} . ${tunnel.local} . 4098`;
const tunnels = () => objects("tunnel").flatMap((o) => (o.kind === "tunnel" ? o.destination : []));
const peers = () => objects("wireguard").flatMap((o) => (o.kind === "wireguard" ? `${o.publicKey} ${o.address}` : []));

it("has the other hosts of encrypted networks in WireGuard alone, those of plain ones let in", async () => {
  await commit(begin);
  assert.deepEqual([peers(), tunnels()], [["theirs fd00:9::7"], ["fd00:9::7"]]);
  assert.deepEqual(ends(), [`${encryptedUnderlay} fd00:9::7 . fd00:9::1 . 4097`]);
  await commit((tx) => {
    putNetwork(tx, plain);
    tx.put("peers", alsoThere);
  });
  assert.deepEqual(tunnels().toSorted(), [dataPath, "fd00:9::7"]);
  assert.deepEqual(ends(), [plainEnd, `${encryptedUnderlay} fd00:9::7 . fd00:9::1 . 4097`]);
  await commit((tx) => tx.delete("peers", there.id));
  assert.deepEqual([peers(), tunnels(), ends()], [[], [dataPath], [plainEnd]]);
  assert.deepEqual(await dataplane.audit(), []);
});

it("puts a tunnel's socket where WireGuard is, also when that is not to be had, and tries again when told", async () => {
  kernel.lacking.add("wireguard");
  const { revision } = await store.update((tx) => putNetwork(tx, secret));
  await assert.rejects(dataplane.settled(encryptedUnderlay, revision), { code: "EOPNOTSUPP" });
  assert.deepEqual(
    objects("link").flatMap((o) => (o.kind === "link" && o.type === "vxlan" ? o.underlay : [])),
    [encryptedUnderlay],
  );
  kernel.lacking.clear();
  dataplane.tryAgain();
  assert.equal(dataplane.errorOf(encryptedUnderlay), undefined);
  assert.deepEqual(await dataplane.audit(), []);
});

it("follows hosts to new keys, its own too, and is gone with the last encrypted network", async () => {
  await commit(begin);
  await commit((tx) => tx.put("peers", { ...there, wireguard: { ...wireguard, publicKey: "new" } }));
  assert.deepEqual(peers(), ["new fd00:9::7"]);
  const own = { ...encryption, publicKey: "other" };
  await commit((tx) => tx.put("networks", { ...secret.network, tunnel: { ...tunnel, encryption: own } }));
  assert.match(kernel.print(), /"publicKey":"other"/);
  assert.deepEqual([peers(), await dataplane.audit()], [["new fd00:9::7"], []]);
  const { wireguard: _, ...without } = there;
  await commit((tx) => tx.put("peers", without));
  assert.deepEqual([peers(), tunnels()], [[], []]);
  await commit((tx) => {
    for (const { id } of tx.list("endpoints")) tx.delete("endpoints", id);
    tx.delete("peers", there.id);
    deleteNetwork(tx, secret);
  });
  assert.equal(kernel.state.has(`namespace|${encryptedUnderlay}`), false);
});
