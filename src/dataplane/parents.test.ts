import assert from "node:assert/strict";
import { it } from "node:test";
import { networkRows, putContainer, putNetwork } from "../../test/support/rows.ts";
import { drivers } from "../drivers/index.ts";
import { createFakeKernel } from "../kernel/fake/fake-kernel.ts";
import type { LinkState } from "../kernel/kernel.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { Parents } from "./parents.ts";

it("an event of a parent counts only when the parent is another one, or in another state", async () => {
  const up: LinkState = {
    name: "lan0",
    index: 7,
    type: "",
    up: true,
    carrier: true,
    promiscuous: true,
    mtu: 1500,
    mac: "02:00:00:00:00:07",
  };
  let link: LinkState | undefined = up;
  const kernel = { ...createFakeKernel(), link: () => link };
  const told: string[] = [];
  const parents = new Parents(
    kernel,
    (name) => drivers[name],
    (name, state, networks) => told.push(`${name} ${state} ${networks.map(({ spec }) => spec.name).join()}`),
  );
  const store = createMemoryStore();
  const rows = networkRows({ number: 1, driver: "macvlan", options: { parent: "lan0" } });
  await store.update((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2 });
  });
  parents.follow(store.snapshot());
  const touched = (next: LinkState | undefined, name = "lan0") => {
    link = next;
    return parents.touch(name);
  };
  assert.equal(touched(up), false, "as it was");
  assert.equal(touched({ ...up, mac: "02:00:00:00:00:09" }), false, "nothing that matters");
  assert.equal(touched(up, "eth9"), false, "nobody stands on it");
  for (const next of [
    { ...up, up: false },
    { ...up, carrier: false },
    undefined,
    { ...up, mtu: 1400 },
    { ...up, index: 9 },
  ])
    assert.equal(touched(next), true);
  assert.equal(touched({ ...up, index: 9, promiscuous: false }), true, "somebody switched it");
  link = undefined;
  const owners = parents.look(store.snapshot());
  assert.deepEqual(
    owners.map((owner) => owner.split(":")[0]),
    ["parent", "network", "endpoint"],
  );
  assert.deepEqual(told, ["lan0 gone net1"]);
  assert.deepEqual(parents.look(store.snapshot()), [], "looked at once");
});

it("a VLAN interface that is gone counts again when its own parent is another one", async () => {
  let base: LinkState | undefined;
  const kernel = {
    ...createFakeKernel(),
    link: (_: string, name: string) => (name === "lan0" ? base : undefined),
  };
  const parents = new Parents(
    kernel,
    (name) => drivers[name],
    () => {},
  );
  const store = createMemoryStore();
  await store.update((tx) =>
    putNetwork(tx, networkRows({ number: 1, driver: "macvlan", options: { parent: "lan0.50" } })),
  );
  parents.follow(store.snapshot());
  assert.equal(parents.touch("lan0"), false, "as gone as before");
  base = { name: "lan0", index: 9, type: "", up: true, carrier: true, promiscuous: false, mtu: 1500, mac: "" };
  assert.equal(parents.touch("lan0"), true);
  assert.ok(parents.look(store.snapshot()).includes("parent:lan0.50"));
});
