import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Snapshot } from "../store/store.ts";
import { Directories } from "./directories.ts";
import { addressesOf } from "./names.ts";
import { endpoint, keysIn, network, peer } from "./testing.ts";

describe("directories", () => {
  /** How many rows were looked at, in all. */
  function counted(rows: Snapshot, count: (rows: number) => void): Snapshot {
    const all = <R>(found: R[]) => (count(found.length), found);
    return {
      revision: rows.revision,
      get: (table, key) => (count(1), rows.get(table, key)),
      list: (table) => all([...rows.list(table)]),
      where: (table, index, value) => all([...rows.where(table, index, value)]),
    };
  }

  it("follow a change at the cost of the change, in a network of 10,000 endpoints", async () => {
    const store = createMemoryStore();
    await store.update((tx) => {
      tx.insert("networks", network("net"));
      tx.insert("endpoints", endpoint("net", "me", ["10.0.0.2"]));
      for (let n = 0; n < 10_000; n += 1)
        tx.insert("peers", peer("net", `far${n}`, [`10.1.${n >> 8}.${n & 255}`], { names: [`far${n}`, "all"] }));
    });
    let looked = 0;
    const count = (rows: number) => void (looked += rows);
    const directories = new Directories();
    const whole = store.snapshot();
    directories.follow({ snapshot: counted(whole, count), changed: keysIn(whole) });
    assert.ok(looked >= 10_000, "the first time all are read");
    looked = 0;
    const addresses = (name: string) => {
      const asked = { rows: counted(store.snapshot(), count), directories };
      return addressesOf(asked, "me", name);
    };
    assert.deepEqual(addresses("far77"), ["10.1.0.77"]);
    await store.update((tx) => {
      tx.put("peers", peer("net", "far77", ["10.2.0.1"], { names: ["far77", "new"] }));
      tx.delete("peers", "net-far78");
    });
    const changed = ["net-far77", "net-far78"].map((key) => ({ table: "peers" as const, key }));
    directories.follow({ snapshot: counted(store.snapshot(), count), changed });
    assert.deepEqual(addresses("far77.net"), ["10.2.0.1"]);
    assert.deepEqual(addresses("new"), ["10.2.0.1"]);
    assert.equal(addresses("far78"), undefined);
    assert.equal(addresses("all")?.length, 9998);
    assert.ok(looked < 30, `${looked} rows were looked at`);
  });

  it("forget nothing of an address that has another one already", async () => {
    const store = createMemoryStore();
    const directories = new Directories();
    const end = new AbortController();
    const following = (async () => {
      for await (const commit of store.watch(end.signal)) directories.follow(commit);
    })();
    const names = () => directories.at("net", "10.0.0.9").map(({ containerName }) => containerName);
    await store.update((tx) => tx.insert("peers", peer("net", "old", ["10.0.0.9"])));
    await store.update((tx) => tx.insert("endpoints", endpoint("net", "new", ["10.0.0.9"])));
    await store.update((tx) => tx.delete("peers", "net-old"));
    await new Promise(setImmediate);
    assert.deepEqual(names(), ["new"]);
    await store.update((tx) => tx.delete("endpoints", "net-new"));
    await new Promise(setImmediate);
    assert.deepEqual(names(), []);
    end.abort();
    await following;
  });
});
