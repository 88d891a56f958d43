import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Backend, VirtualService } from "../model/service.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Transaction } from "../store/store.ts";
import { Directories } from "./directories.ts";
import { addressesOf, nameOf } from "./names.ts";
import { endpoint, network, peer } from "./testing.ts";

const virtual = (name: string, addresses: string[], more: Partial<VirtualService> = {}): VirtualService => ({
  serviceId: name,
  networkId: "shop",
  name,
  aliases: [],
  addresses,
  ports: [],
  balance: { by: "rr", local: false },
  keepsClient: true,
  ...more,
});
const backend = (service: string, task: string, addresses: string[], networkId = "shop"): Backend => ({
  taskId: task,
  serviceId: service,
  networkId,
  nodeId: "n",
  name: `${service}.1.${task}`,
  addresses,
});

/** Names as a sandbox sees them that is on `shop` and on the ingress network. */
async function names(...changes: readonly ((tx: Transaction) => void)[]) {
  const store = createMemoryStore();
  const directories = new Directories();
  const end = new AbortController();
  const commits = store.watch(end.signal)[Symbol.asyncIterator]();
  const follow = async () => {
    const { value } = await commits.next();
    directories.follow(value);
  };
  await follow();
  const change = async (how: (tx: Transaction) => void) => {
    await store.update(how);
    await follow();
  };
  await change((tx) => {
    tx.insert("networks", network("shop"));
    tx.insert("networks", network("ingress", { ingress: true }));
    tx.insert("endpoints", endpoint("shop", "me", ["10.0.1.2"]));
    tx.insert("endpoints", endpoint("ingress", "me", ["10.0.0.2"]));
    tx.insert("peers", peer("shop", "web.1.t1", ["10.0.1.11", "fd00::11"]));
    tx.insert("endpoints", endpoint("shop", "web.2.t2", ["10.0.1.12", "fd00::12"]));
    tx.insert(
      "virtualServices",
      virtual("Web", ["10.0.1.9", "fd00::9"], { serviceId: "web", aliases: ["Shop-Front"] }),
    );
    tx.insert("backends", backend("web", "t1", ["10.0.1.11", "fd00::11"]));
    tx.insert("backends", backend("web", "t2", ["10.0.1.12", "fd00::12"]));
  });
  for (const how of changes) await change(how);
  const known = () => ({ rows: store.snapshot(), directories });
  return {
    change,
    of: (name: string) => addressesOf(known(), "me", name),
    at: (address: string) => nameOf(known(), "me", address),
  };
}

const tasks = ["10.0.1.11", "fd00::11", "10.0.1.12", "fd00::12"];

describe("names of services", () => {
  for (const name of ["web", "WEB", "web.shop", "shop-front", "Shop-Front.SHOP"])
    it(`${name} is the virtual address`, async () =>
      assert.deepEqual((await names()).of(name), ["10.0.1.9", "fd00::9"]));

  for (const name of ["tasks.web", "Tasks.Web.shop", "tasks.shop-front"])
    it(`${name} is every task`, async () => assert.deepEqual((await names()).of(name), tasks));

  it("of one without a virtual address is every task", async () => {
    const { of } = await names((tx) => tx.put("virtualServices", virtual("Web", [], { serviceId: "web" })));
    assert.deepEqual([of("web"), of("tasks.web"), of("shop-front")], [tasks, tasks, undefined]);
  });

  it("are gone with the service, and a task with its backend or with its endpoint, whichever goes first", async () => {
    const { of, change } = await names();
    await change((tx) => tx.delete("backends", "t2|shop"));
    assert.deepEqual(of("tasks.web"), ["10.0.1.11", "fd00::11"]);
    await change((tx) => tx.delete("peers", "shop-web.1.t1"));
    assert.deepEqual(of("tasks.web"), []);
    await change((tx) => tx.delete("virtualServices", "web|shop"));
    assert.deepEqual([of("web"), of("tasks.web")], [undefined, undefined]);
  });

  it("are told on the network of the service alone, and never on that of published ports", async () => {
    const { of } = await names((tx) => {
      tx.insert("virtualServices", virtual("far", ["10.0.2.9"], { networkId: "other" }));
      tx.insert("virtualServices", virtual("published", ["10.0.0.9"], { networkId: "ingress" }));
      tx.insert("peers", peer("ingress", "published.1.t3", ["10.0.0.11"]));
      tx.insert("backends", backend("published", "t3", ["10.0.0.11"], "ingress"));
    });
    for (const name of ["far", "tasks.far", "published", "tasks.published", "published.1.t3"])
      assert.equal(of(name), undefined, name);
  });

  it("follow a service that gets another name", async () => {
    const { of } = await names((tx) => tx.put("virtualServices", virtual("site", ["10.0.1.9"], { serviceId: "web" })));
    assert.deepEqual([of("web"), of("site"), of("tasks.site")], [undefined, ["10.0.1.9"], tasks]);
  });

  it("of addresses are those of tasks; a virtual address has none", async () => {
    const { at } = await names();
    assert.deepEqual([at("10.0.1.11"), at("fd00::12"), at("10.0.1.9")], ["web.1.t1.shop", "web.2.t2.shop", undefined]);
  });
});
