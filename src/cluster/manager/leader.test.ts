import assert from "node:assert/strict";
import { it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { revised } from "../../model/cluster.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { Rows, RowsTransaction } from "../../store/rows.ts";
import type { Snapshot, Store } from "../../store/store.ts";
import { Leader } from "./leader.ts";
import type { Members } from "../etcd/etcd-members.ts";
import { openService } from "../services.ts";
import { newSpec } from "../orchestration/testing.ts";
import { newCluster, newNode } from "../testing.ts";

const manager = { address: "", reachability: "reachable", leader: true, memberId: "1" } as const;
const ready = { state: "ready", message: "", address: "192.0.2.1", holder: "m1" } as const;

async function played() {
  const store = createMemoryStore();
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    tx.insert("nodes", newNode({ id: "m1", role: "manager", manager, status: ready }));
    openService(tx, newSpec(), 1);
  });
  return store;
}

/** Leads until `until`, and then ends. @param votes those that were taken @param names of etcd's members, from number 1 */
async function lead(store: Store, until: () => boolean, votes: bigint[] = [], names = ["m1"]): Promise<void> {
  const end = new AbortController();
  const log = { info() {}, warn() {} };
  const members = {
    list: async () => names.map((name, at) => ({ id: BigInt(at + 1), name })),
    remove: async (id: bigint) => void votes.push(id),
  } as unknown as Members;
  const parts = { members, sessions: { inherit() {} }, self: "m1", now: () => 5, after: () => () => {}, log };
  const running = new Leader(parts, store).run(end.signal);
  for (let n = 0; n < 200 && !until(); n += 1) await turn();
  end.abort();
  await running;
}

/** A manager's store to which the last commits have not come yet; who commits something has them, as with etcd. */
function lagging(store: Store, stale: Rows): Store {
  const caughtUp = Promise.withResolvers<void>();
  let rows: Snapshot | undefined = stale;
  return {
    snapshot: () => rows ?? store.snapshot(),
    close: () => store.close(),
    update: async (change) => {
      if (rows === undefined) return store.update(change);
      const tx = new RowsTransaction(stale);
      const result = change(tx);
      if (tx.changes().length === 0) return { result, revision: stale.revision };
      const done = await store.update(change);
      rows = undefined;
      caughtUp.resolve();
      return done;
    },
    async *watch(signal) {
      if (rows !== undefined) yield { snapshot: stale, changed: stale.keys };
      await caughtUp.promise;
      yield* store.watch(signal);
    },
  };
}

it("who begins to lead has what the one before has written, and makes no task twice", async () => {
  const store = await played();
  const before = Rows.of(
    store.snapshot().revision,
    (store.snapshot() as Rows).keys.map(({ table, key }) => [table, store.snapshot().get(table, key) as never]),
  );
  const tasks = () => store.snapshot().list("tasks");
  await lead(store, () => tasks().length > 0);
  assert.equal(tasks().length, 1);
  await lead(lagging(store, before), () => tasks().length > 1);
  assert.equal(tasks().length, 1);
});

it("says that it leads, also when it had led before it was started again", async () => {
  const store = await played();
  const row = () => store.snapshot().get("nodes", "m1");
  const { revision } = store.snapshot();
  await lead(store, () => store.snapshot().revision > revision);
  assert.equal(row()?.manager?.leader, true);
  assert.ok(store.snapshot().revision > revision);
});

it("what managers acknowledged that are none any more is forgotten", async () => {
  const store = await played();
  await store.update((tx) => {
    tx.insert("nodes", newNode({ id: "m2", role: "manager", manager }));
    for (const managerId of ["m1", "m2", "m3"]) tx.insert("acknowledgements", { managerId, tasks: ["t"] });
  });
  const who = () =>
    store
      .snapshot()
      .list("acknowledgements")
      .map(({ managerId }) => managerId);
  await lead(store, () => who().length === 2);
  assert.deepEqual(who(), ["m1", "m2"]);
  await store.update((tx) => {
    const node = tx.get("nodes", "m2");
    const { manager: _, ...rest } = node ?? newNode();
    tx.put("nodes", revised({ ...rest, role: "worker" }, {}, 1));
  });
  await lead(store, () => who().length === 1);
  assert.deepEqual(who(), ["m1"]);
});

it("takes the vote of a worker, and of who was demoted and removed before it looked", async () => {
  const store = await played();
  const row = (id: string, role: "manager" | "worker", memberId: string) =>
    newNode({ id, role, manager: { ...manager, leader: false, memberId } });
  await store.update((tx) => {
    tx.insert("nodes", row("m2", "worker", "2"));
    tx.insert("nodes", row("m3", "manager", "3"));
  });
  const votes: bigint[] = [];
  const leading = lead(store, () => votes.length > 1, votes);
  for (let n = 0; n < 200 && store.snapshot().get("nodes", "m2")?.manager !== undefined; n += 1) await turn();
  await store.update((tx) => tx.delete("nodes", "m3"));
  await leading;
  assert.deepEqual(votes, [2n, 3n]);
});

it("ends when it is to be no manager any more", async () => {
  const store = await played();
  let isOver = false;
  const leading = lead(store, () => isOver).then(() => (isOver = true));
  await store.update((tx) => {
    const node = tx.get("nodes", "m1") ?? newNode();
    tx.put("nodes", revised(node, { role: "worker" }, 1));
  });
  for (let n = 0; n < 50; n += 1) await turn();
  const { revision } = store.snapshot();
  await store.update((tx) => openService(tx, newSpec({ name: "late" }), 1));
  await leading;
  assert.ok(
    store
      .snapshot()
      .list("tasks")
      .every(({ serviceName }) => serviceName !== "late"),
  );
  assert.ok(store.snapshot().revision > revision);
});

it("takes the vote of who was removed while nobody led, and not of who is about to be started", async () => {
  const store = await played();
  const votes: bigint[] = [];
  await lead(store, () => votes.length > 0, votes, ["m1", "m2", ""]);
  assert.deepEqual(votes, [2n]);
});
