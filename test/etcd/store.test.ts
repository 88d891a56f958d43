import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { rangeOf } from "../../src/store/etcd/layout.ts";
import type { EtcdClient } from "../../src/store/etcd/client.ts";
import { type EtcdStore, openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import type { Store } from "../../src/store/store.ts";
import { claim, storeContract } from "../contract/store.ts";
import { TestEtcd } from "../support/etcd.ts";
import { createTestAuthority } from "../support/tls.ts";
import { Follower, increment, portKey, valueOf } from "../support/store-use.ts";
import { calmTime, until } from "../support/until.ts";

let etcd: TestEtcd;
before(async () => {
  etcd = await TestEtcd.start(1);
});
after(() => etcd[Symbol.asyncDispose]());

let prefixes = 0;
const newPrefix = () => `/test/${prefixes++}`;
const open = (prefix: string, client?: EtcdClient) => openEtcdStore({ etcd: client ?? etcd.client(), prefix });
async function two(): Promise<[EtcdStore, EtcdStore] & AsyncDisposable> {
  const prefix = newPrefix();
  const stores: [EtcdStore, EtcdStore] = [await open(prefix), await open(prefix)];
  const dispose = async () => void (await Promise.all(stores.map((store) => store.close())));
  return Object.assign(stores, { [Symbol.asyncDispose]: dispose });
}
const agree = async (...stores: Store[]) => {
  const newest = Math.max(...stores.map((store) => store.snapshot().revision));
  await until(() => stores.every((store) => store.snapshot().revision >= newest), "they agree");
};

storeContract("etcd", () => openEtcdStore({ etcd: etcd.address(), prefix: newPrefix() }));
storeContract("etcd, sealed", () =>
  openEtcdStore({ etcd: etcd.address(), prefix: newPrefix(), key: Buffer.alloc(32, 1) }),
);

it("sealed rows are not in clear in etcd, and none without their key or at another place", async () => {
  const [prefix, key] = [newPrefix(), Buffer.alloc(32, 1)];
  const volume = { name: "v", labels: { a: "very secret" }, options: {}, anonymous: false, createdAt: "" };
  const store = await openEtcdStore({ etcd: etcd.address(), prefix, key });
  await store.update((tx) => tx.insert("volumes", volume));
  await store.close();
  const { kvs } = await etcd.client().kv.range(rangeOf(`${prefix}/volumes/`));
  assert.equal(kvs.length, 1);
  assert.ok(!Buffer.from(kvs[0]?.value ?? []).includes("very secret"));
  for (const other of [undefined, Buffer.alloc(32, 2)])
    await assert.rejects(openEtcdStore({ etcd: etcd.address(), prefix, ...(other && { key: other }) }), {
      code: "CORRUPT",
    });
  await etcd.client().kv.put({ key: Buffer.from(`${prefix}/volumes/w`), value: kvs[0]?.value ?? new Uint8Array() });
  await assert.rejects(openEtcdStore({ etcd: etcd.address(), prefix, key }), { code: "CORRUPT" });
});

describe("two stores", () => {
  it("count 200 contended increments right", async () => {
    await using stores = await two();
    const started = performance.now();
    const each = stores.map(async (store) => {
      for (let n = 0; n < 100; n++) await store.update(increment);
    });
    await Promise.all(each);
    console.log(`200 contended increments: ${Math.round(performance.now() - started)} ms`);
    await agree(...stores);
    assert.deepEqual(
      stores.map((store) => valueOf(store.snapshot())),
      [200, 200],
    );
  });

  it("count as right when the increments are of one moment", async () => {
    await using stores = await two();
    await Promise.all(stores.flatMap((store) => Array.from({ length: 500 }, () => store.update(increment))));
    await agree(...stores);
    assert.equal(valueOf(stores[0].snapshot()), 1000);
  });

  it("take one claim once", async () => {
    await using stores = await two();
    for (let port = 1; port <= 30; port++) {
      const wishes = stores.map((store, at) => store.update((tx) => tx.insert("ports", claim(port, `e${at}`))));
      const results = await Promise.allSettled(wishes);
      const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason.code] : []));
      assert.deepEqual(refused, ["EXISTS"]);
    }
  });

  it("see rows that others insert into a table that they listed", async () => {
    await using stores = await two();
    const insertBelow10 = (store: Store, port: number) =>
      store.update((tx) => {
        const room = tx.where("ports", "endpoint", "e1").length < 10;
        if (room) tx.insert("ports", claim(port));
        return room;
      });
    const wishes = Array.from({ length: 40 }, (_, n) => insertBelow10(stores[n % 2] as Store, n + 1));
    const done = await Promise.all(wishes);
    assert.equal(done.filter(({ result }) => result).length, 10);
    await agree(...stores);
    assert.equal(stores[1].snapshot().list("ports").length, 10);
  });

  it("see rows that others delete from a table that they listed", async () => {
    await using stores = await two();
    for (let round = 0; round < 20; round++) {
      await stores[0].update((tx) => [1, 2].forEach((port) => tx.put("ports", claim(port))));
      await agree(...stores);
      // Each deletes another row, and neither if it is the last one.
      const deletions = stores.map((store, at) =>
        store.update((tx) => tx.list("ports").length > 1 && tx.delete("ports", portKey(at + 1))),
      );
      await Promise.all(deletions);
      await agree(...stores);
      assert.equal(stores[0].snapshot().list("ports").length, 1);
    }
  });

  it("leave nothing of theirs when they are closed", async () => {
    const prefix = newPrefix();
    const store = await open(prefix);
    await store.update((tx) => tx.insert("ports", claim(1)));
    await store.close();
    const { kv } = etcd.client();
    const range = { key: Buffer.from(`${prefix}/`), rangeEnd: Buffer.from(`${prefix}0`), keysOnly: true };
    const keys = (await kv.range(range)).kvs.map(({ key }) => Buffer.from(key).toString().slice(prefix.length));
    assert.deepEqual(keys, ["/.touched/ports", `/ports/${portKey(1)}`]);
  });
});

describe("a transaction whose answer is lost", () => {
  type Txn = EtcdClient["kv"]["txn"];
  const lost = () => Object.assign(new Error("lost"), { code: 4, details: "lost" });
  const withTxn = (client: EtcdClient, txn: (real: Txn) => Txn): EtcdClient => ({
    ...client,
    kv: { ...client.kv, txn: txn(client.kv.txn) },
  });

  it("is not applied twice when it was applied", async () => {
    let calls = 0;
    const lossy = withTxn(etcd.client(), (real) => async (request, options) => {
      const answer = await real(request, options);
      if (calls++ % 3 !== 2) throw lost();
      return answer;
    });
    const prefix = newPrefix();
    const store = await open(prefix, lossy);
    for (let n = 1; n <= 10; n++) {
      const { revision } = await store.update(increment);
      assert.deepEqual([valueOf(store.snapshot()), store.snapshot().revision], [n, revision]);
    }
    await store.close();
  });

  it("is not applied twice when it is applied late, also among conflicts", async () => {
    const late: Promise<unknown>[] = [];
    const slow = withTxn(etcd.client(), (real) => async (request, options) => {
      if (Math.random() < 0.5) return real(request, options);
      late.push(sleep(Math.random() * 400).then(() => real(request)));
      throw lost();
    });
    const prefix = newPrefix();
    const [store, other] = [await open(prefix, slow), await open(prefix)];
    const both = [store, other].map(async (one) => {
      for (let n = 0; n < 20; n++) {
        await one.update(increment);
        if (one === other) await sleep(50);
      }
    });
    await Promise.all(both);
    await Promise.all(late);
    await other.update(() => {});
    await agree(store, other);
    assert.ok(late.length > 5);
    assert.equal(valueOf(other.snapshot()), 40);
    await Promise.all([store.close(), other.close()]);
  });

  it("is not applied twice when its member was paused", async () => {
    const store = await open(newPrefix());
    await store.update(increment);
    etcd.members[0]?.pause();
    const updating = Promise.all([store.update(increment), store.update(increment)]);
    await sleep(2000); // of the five seconds after which it would give up
    etcd.members[0]?.resume();
    await updating;
    assert.equal(valueOf(store.snapshot()), 3);
    await store.close();
  });
});

describe("an etcd that does not answer", () => {
  it("is UNAVAILABLE within 5 seconds; reads go on, and updates when it is back", async () => {
    const store = await open(newPrefix());
    await store.update(increment);
    await etcd.members[0]?.kill();
    const [started, calm] = [performance.now(), calmTime()];
    const results = await Promise.allSettled([
      store.update(increment),
      sleep(2000).then(() => store.update(increment)),
    ]);
    const [took, calmly] = [performance.now() - started, calmTime() - calm];
    for (const result of results) assert.equal(result.status === "rejected" && result.reason.code, "UNAVAILABLE");
    assert.ok(took > 4000 && calmly < 5500, `${took} ms`);
    assert.equal(valueOf(store.snapshot()), 1);
    await assert.rejects(open(newPrefix()), { code: "UNAVAILABLE" });
    etcd.members[0]?.start();
    await etcd.ready();
    await store.update(increment);
    assert.equal(valueOf(store.snapshot()), 2);
    await store.close();
  });

  it("takes nothing from a client without a certificate", async () => {
    const { endpoints, tls } = etcd.address();
    const stranger = await createTestAuthority("stranger");
    const own = await stranger.issue({ dns: ["tombolo-manager"] });
    const wrong = { endpoints, tls: { ...(tls as NonNullable<typeof tls>), ...own } };
    await assert.rejects(openEtcdStore({ etcd: wrong, prefix: "/x" }), { code: "UNAVAILABLE" });
  });
});

it("a store resumes over compaction, with what was deleted meanwhile", async () => {
  const prefix = newPrefix();
  const writer = await open(prefix);
  await writer.update((tx) => [1, 2, 3].forEach((port) => tx.insert("ports", claim(port))));
  // What this one's watch gets is cut off, and it cannot come back before its revision is compacted.
  let open_ = true;
  const client = etcd.client();
  const streams = new Set<{ cancel(): void }>();
  const cut: EtcdClient = {
    ...client,
    watch: {
      watch: (options) => {
        const stream = client.watch.watch(options);
        streams.add(stream);
        if (!open_) stream.cancel();
        return stream;
      },
    },
  };
  const reader = await open(prefix, cut);
  const follower = new Follower(reader);
  await follower.seen((rows) => rows.list("ports").length === 3);
  open_ = false;
  for (const stream of streams) stream.cancel();
  await writer.update((tx) => tx.delete("ports", portKey(1)));
  await writer.update((tx) => tx.put("ports", claim(2, "other")));
  const { revision } = await writer.update((tx) => tx.insert("ports", claim(4)));
  await client.kv.compact({ revision: BigInt(revision), physical: true });
  open_ = true;
  await follower.seen((rows) => rows.get("ports", portKey(4)) !== undefined);
  assert.deepEqual(follower.changed.slice(3).toSorted(), [1, 2, 4].map(portKey));
  assert.deepEqual(reader.snapshot().list("ports"), writer.snapshot().list("ports"));
  await reader.update((tx) => tx.insert("ports", claim(5)));
  await follower.seen((rows) => rows.get("ports", portKey(5)) !== undefined);
  await Promise.all([reader.close(), writer.close()]);
});

it("a store follows an etcd that was put back to an earlier state", async () => {
  const prefix = newPrefix();
  const store = await open(prefix);
  const follower = new Follower(store);
  for (const port of [1, 2]) await store.update((tx) => tx.insert("ports", claim(port)));
  const [member] = etcd.members;
  await member?.kill();
  member?.wipe();
  member?.start(etcd.members, "new");
  await etcd.ready();
  await follower.seen((rows) => rows.list("ports").length === 0);
  assert.deepEqual(follower.changed, [1, 2, 1, 2].map(portKey));
  await store.update((tx) => tx.insert("ports", claim(3)));
  await follower.seen((rows) => rows.list("ports").length === 1);
  await store.close();
});

it("what is no row is told, and not passed over", async () => {
  const prefix = newPrefix();
  const store = await open(prefix);
  const watch = async () => {
    for await (const { changed } of store.watch(new AbortController().signal)) assert.deepEqual(changed, []);
  };
  const watching = assert.rejects(watch(), { code: "CORRUPT" });
  await etcd.client().kv.put({ key: Buffer.from(`${prefix}/ports/x`), value: Buffer.from("{}") });
  await watching;
  await assert.rejects(store.update(increment), { code: "CORRUPT" });
  await assert.rejects(open(prefix), { code: "CORRUPT" });
  await store.close();
});
