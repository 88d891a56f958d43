import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { campaign } from "../../src/store/etcd/election.ts";
import { type EtcdStore, openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import { openLease } from "../../src/store/etcd/lease.ts";
import { addLearner, listMembers, promoteMember, removeMember, updateMember } from "../../src/store/etcd/members.ts";
import { claim } from "../contract/store.ts";
import { TestEtcd, type TestMember } from "../support/etcd.ts";
import { Follower, increment, portKey, valueOf } from "../support/store-use.ts";
import { calmTime, until } from "../support/until.ts";

let etcd: TestEtcd;
before(async () => {
  etcd = await TestEtcd.start(3);
});
after(() => etcd[Symbol.asyncDispose]());
let prefixes = 0;
const newPrefix = () => `/test/${prefixes++}`;

/** Like `update`, for a caller who can tell whether it was done. */
async function insisting(store: EtcdStore, port: number): Promise<number> {
  for (let failures = 0; ; failures++) {
    try {
      await store.update((tx) => {
        if (tx.get("ports", portKey(port)) === undefined) tx.insert("ports", claim(port));
      });
      return failures;
    } catch (error) {
      assert.equal((error as { code?: string }).code, "UNAVAILABLE");
    }
  }
}

/** Kills a member, and starts it again after a while. */
async function restart(member: TestMember): Promise<void> {
  await member.kill();
  await sleep(500);
  member.start();
  await etcd.ready();
}

describe("three members", () => {
  it("killed one after the other, the leader first, cost a watch no event and repeat none", async () => {
    const prefix = newPrefix();
    const [writer, reader] = [
      await openEtcdStore({ etcd: etcd.client(), prefix }),
      await openEtcdStore({ etcd: etcd.client(), prefix }),
    ];
    const numbers: number[] = [];
    const follower = new Follower(reader, (rows) => numbers.push(rows.list("ports").length));
    let killing = true;
    let longest = 0;
    let failures = 0;
    let count = 0;
    const writing = (async () => {
      while (killing || count < 300) {
        const started = performance.now();
        failures += await insisting(writer, ++count);
        longest = Math.max(longest, performance.now() - started);
        await sleep(20);
      }
    })();
    const leader = await etcd.leader();
    for (const member of [leader, ...etcd.members.filter((m) => m !== leader)]) await restart(member);
    await restart(await etcd.leader());
    killing = false;
    await writing;
    await follower.seen((rows) => rows.list("ports").length === count);
    console.log(`${count} updates, ${failures} said UNAVAILABLE, the longest took ${Math.round(longest)} ms`);
    const expected = Array.from({ length: count }, (_, n) => portKey(n + 1));
    assert.deepEqual(follower.changed, expected);
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
    await follower.end();
    await Promise.all([writer.close(), reader.close()]);
  });

  it("of which the one that is followed is paused, are followed at another", async () => {
    const prefix = newPrefix();
    const store = await openEtcdStore({ etcd: etcd.client(), prefix });
    for (const member of etcd.members) {
      await store.update(increment);
      member.pause();
      const before = valueOf(store.snapshot());
      const failures = await (async () => {
        for (let n = 0; ; n++) {
          try {
            await store.update((tx) => valueOf(tx) === before && increment(tx));
            return n;
          } catch (error) {
            assert.equal((error as { code?: string }).code, "UNAVAILABLE");
          }
        }
      })();
      assert.ok(failures <= 1);
      assert.equal(valueOf(store.snapshot()), before + 1);
      member.resume();
      await etcd.ready();
    }
    await store.close();
  });

  it("count contended increments right while the leader is killed", async () => {
    const prefix = newPrefix();
    const stores = await Promise.all([1, 2].map(() => openEtcdStore({ etcd: etcd.client(), prefix })));
    let done = 0;
    let unknown = 0;
    const each = stores.map(async (store) => {
      for (let n = 0; n < 100; n++) {
        await store.update(increment).then(
          () => done++,
          () => unknown++,
        );
      }
    });
    await sleep(200);
    await restart(await etcd.leader());
    await Promise.all(each);
    const check = await openEtcdStore({ etcd: etcd.client(), prefix });
    const value = valueOf(check.snapshot());
    assert.ok(value >= done && value <= done + unknown, `${value} of ${done} done and ${unknown} unknown`);
    await Promise.all([...stores, check].map((store) => store.close()));
  });
});

describe("leases and elections", () => {
  it("a lease outlives the members' restarts, and tells when nobody renews it", async () => {
    const lease = await openLease(etcd.client(), { ttl: 5 });
    await restart(await etcd.leader());
    await sleep(5500);
    assert.ok(!lease.lost.aborted);
    await lease.revoke();
    assert.match(String(lease.lost.reason), /given back/);

    const alone = await openLease(etcd.client(), { ttl: 2 });
    const [started, calm] = [performance.now(), calmTime()];
    for (const member of etcd.members) member.pause();
    await until(() => alone.lost.aborted, "it is lost");
    const [took, calmly] = [performance.now() - started, calmTime() - calm];
    for (const member of etcd.members) member.resume();
    assert.match(String(alone.lost.reason), /not renewed for 2 s/);
    assert.ok(took > 1000 && calmly < 2200, `${took} ms`);
    await etcd.ready();
  });

  it("one candidate leads; the next one when it resigns, loses its lease or its key", async () => {
    const client = etcd.client();
    const end = new AbortController();
    const key = `${newPrefix()}/leader`;
    const candidate = async (value: string, signal = end.signal) => {
      const lease = await openLease(client, { ttl: 20 });
      return { lease, leading: campaign(client, lease, { key, value, signal }) };
    };
    const a = await candidate("a");
    const first = await a.leading;
    const b = await candidate("b");
    const c = await candidate("c", AbortSignal.timeout(300));
    await assert.rejects(c.leading, { name: "TimeoutError" });
    assert.equal(await Promise.race([b.leading, sleep(200, "waits")]), "waits");
    await first.resign();
    assert.ok(first.lost.aborted);
    const second = await b.leading;
    assert.ok(second.createRevision > first.createRevision && !second.lost.aborted);
    const again = campaign(client, a.lease, { key, value: "a", signal: end.signal });
    await b.lease.revoke();
    const third = await again;
    assert.ok(second.lost.aborted && !third.lost.aborted);
    await client.kv.deleteRange({ key: Buffer.from(key) });
    await until(() => third.lost.aborted, "it is deposed");
    assert.match(String(third.lost.reason), /key of the election is gone/);
    await Promise.all([a.lease.revoke(), c.lease.revoke()]);
  });

  it("a deposed leader's writes are refused, those of the new one are done", async () => {
    const client = etcd.client();
    const prefix = newPrefix();
    const store = await openEtcdStore({ etcd: client, prefix });
    const { signal } = new AbortController();
    const leases = [await openLease(client, { ttl: 20 }), await openLease(client, { ttl: 20 })] as const;
    const first = await campaign(client, leases[0], { key: `${prefix}-leader`, value: "a", signal });
    const old = store.fenced(first);
    await old.update(increment);
    await leases[0].revoke();
    const second = await campaign(client, leases[1], { key: `${prefix}-leader`, value: "b", signal });
    const results = await Promise.allSettled([
      old.update(increment),
      old.update(increment),
      store.fenced(second).update(increment),
      store.update(increment),
      old.update(increment),
    ]);
    assert.deepEqual(
      results.map((result) => (result.status === "rejected" ? result.reason.code : "done")),
      ["FENCED", "FENCED", "done", "done", "FENCED"],
    );
    assert.equal(valueOf(store.snapshot()), 3);
    await second.resign();
    await leases[1].revoke();
    await store.close();
  });
});

describe("members", () => {
  it("join as learners, are promoted, get other addresses and leave; refusals have names", async () => {
    const client = etcd.client(etcd.members.slice(0, 1));
    const fourth = await etcd.addMember();
    const { id } = await addLearner(client, [fourth.peerUrl]);
    assert.deepEqual(
      (await listMembers(client)).map(({ name, learner }) => [name, learner]).toSorted(),
      [["", true], ...etcd.members.slice(0, 3).map(({ name }) => [name, false])].toSorted(),
    );
    await assert.rejects(addLearner(client, [fourth.peerUrl]), { code: "EXISTS" });
    await assert.rejects(addLearner(client, ["https://127.0.0.1:1"]), { code: "TOO_MANY_LEARNERS" });
    await assert.rejects(promoteMember(client, id, 0), { code: "NOT_READY" });
    await assert.rejects(promoteMember(client, 1n), { code: "NOT_FOUND" });
    const voter = (await listMembers(client)).find(({ learner }) => !learner);
    await promoteMember(client, voter?.id as bigint); // it has its vote
    await assert.rejects(client.cluster.memberPromote({ ID: voter?.id as bigint }), /can only promote a learner/);
    fourth.start(etcd.members, "existing");
    const started = performance.now();
    await promoteMember(client, id);
    console.log(`a learner was promoted ${Math.round(performance.now() - started)} ms after its start`);
    await updateMember(client, id, [fourth.peerUrl, "https://localhost:1"]);
    const found = (await listMembers(client)).find((member) => member.id === id);
    assert.deepEqual([found?.learner, found?.peerUrls.length], [false, 2]);
    await removeMember(client, id);
    await assert.rejects(removeMember(client, id), { code: "NOT_FOUND" });
    assert.equal((await listMembers(client)).length, 3);
  });
});
