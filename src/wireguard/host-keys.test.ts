import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { networkRows, putNetwork } from "../../test/support/rows.ts";
import { createFakeKernel, type FakeKernel } from "../kernel/fake/fake-kernel.ts";
import { encryptedUnderlay, type PlanObject } from "../model/plan.ts";
import type { OwnEnd, WireguardEnd } from "../model/wireguard.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { HostKeys } from "./host-keys.ts";
import type { KeyWish } from "./own-end.ts";
import { until } from "../../test/support/until.ts";

const wish = (generation: number, isKnown = false): KeyWish => ({
  cluster: "c",
  generation,
  isKnown,
  link: generation % 2 === 0 ? "twg" : "twh",
  udpPort: 4793 + (generation % 2),
});
const end = (sends: number, ...generations: number[]): WireguardEnd => ({
  id: "other",
  address: "fd00::2",
  keys: generations.map((generation) => ({ generation, publicKey: `theirs${generation}` })),
  sends,
});

let kernel: FakeKernel;
let store: Store;
let keys: HostKeys;
let said: number[][];
let ahead: string[];
let failsAhead: boolean;
function begin(): void {
  keys = new HostKeys({
    store,
    kernel,
    ahead: (link, write) => {
      ahead.push(link);
      return failsAhead ? Promise.reject(new Error("no program")) : write();
    },
    changed: () => void said.push(keys.said.keys.map(({ generation }) => generation)),
    log: { info() {}, warn() {} },
  });
}
beforeEach(() => {
  [kernel, store, said, ahead, failsAhead] = [createFakeKernel(), createMemoryStore(), [], [], false];
  begin();
  keys.start();
});
afterEach(async () => {
  await keys.stop();
  await store.close();
});
const own = (): OwnEnd | undefined => store.snapshot().list("ownEnds")[0];
const generations = () => own()?.keys.map(({ generation }) => generation);
const put = (one: WireguardEnd) => store.update((tx) => tx.put("ends", one));

/** The links with their keys, as the data plane would have made them, and the other host as their peer. */
function make(): void {
  const namespace = encryptedUnderlay;
  const links = own()?.keys ?? [];
  const objects: PlanObject[] = [
    { kind: "namespace", namespace },
    ...links.flatMap(({ link: name, generation, ...key }): PlanObject[] => [
      { kind: "link", type: "wireguard", namespace, name, ...key },
      {
        kind: "wireguard",
        namespace,
        link: name,
        publicKey: `theirs${generation}`,
        endpoint: { address: "192.0.2.2", udpPort: key.udpPort },
        address: "fd00::2",
      },
    ]),
  ];
  kernel.apply(objects.map((object) => ({ verb: "create", object, owner: encryptedUnderlay })));
}

it("makes a key when the cluster wants one, tells it, and goes over to the next host by host", async () => {
  assert.equal(own(), undefined);
  keys.wish(wish(1, true));
  await until(() => generations()?.length === 1);
  const [first] = own()?.keys ?? [];
  await put(end(1, 1));
  keys.wish(wish(2));
  await until(() => generations()?.length === 2);
  make();
  await put(end(1, 1, 2));
  await sleep(300);
  assert.deepEqual([own()?.answered, own()?.sends], [{}, 1], "nobody has answered");
  kernel.answeringKeys.add("theirs2");
  await until(() => own()?.answered["other"] === 2);
  assert.equal(own()?.sends, 1, "somebody may have a key that is not known here");
  keys.wish(wish(2, true));
  await until(() => own()?.sends === 2);
  assert.deepEqual(kernel.forgotten, []);
  await put(end(2, 1, 2));
  await sleep(300);
  assert.deepEqual(generations(), [1, 2], "what is on its way has its time");
  await until(() => generations()?.length === 1);
  assert.deepEqual([generations(), kernel.forgotten], [[2], [first?.publicKey]]);
  assert.deepEqual(said, [[1], [1, 2], [1, 2], [1, 2], [2]]);
  assert.deepEqual(ahead, [], "without an encrypted network no link is wanted");
});

it("has the link's program run before the link is wanted, and keeps the key before where it does not start", async () => {
  const encryption = { address: "fd00::1", mtu: 1440 };
  const tunnel = { udpPort: 4789, local: "192.0.2.1", mtu: 1450, encryption };
  keys.wish(wish(1, true));
  await until(() => generations()?.length === 1);
  await store.update((tx) => putNetwork(tx, networkRows({ number: 1, driver: "overlay", vni: 4097, tunnel })));
  failsAhead = true;
  keys.wish(wish(2));
  await until(() => ahead.length === 1);
  await sleep(50);
  assert.deepEqual([generations(), ahead], [[1], ["twg"]]);
  failsAhead = false;
  keys.wish(wish(2));
  await until(() => generations()?.length === 2);
});

it("has the devices' keys after a restart of the daemon, new ones after one of the machine", async () => {
  keys.wish(wish(1, true));
  await until(() => generations()?.length === 1);
  make();
  const before = own();
  await keys.stop();
  begin();
  await keys.open();
  assert.deepEqual(own(), before);
  kernel.lose(`namespace|${encryptedUnderlay}`);
  await keys.open();
  assert.notEqual(own()?.keys[0]?.publicKey, before?.keys[0]?.publicKey);
  const places = (end: OwnEnd | undefined) =>
    end?.keys.map(({ generation, link, udpPort }) => [generation, link, udpPort]);
  assert.deepEqual(places(own()), places(before));
});

it("forgets all outside of a swarm, and begins anew in another", async () => {
  keys.wish(wish(7, true));
  await until(() => generations()?.length === 1);
  const before = own()?.keys[0]?.publicKey;
  keys.wish("none");
  await until(() => own() === undefined);
  assert.deepEqual(kernel.forgotten, [before]);
  keys.wish({ ...wish(1), cluster: "d" });
  await until(() => generations()?.length === 1);
  assert.deepEqual([own()?.id, generations()], ["d", [1]]);
});
