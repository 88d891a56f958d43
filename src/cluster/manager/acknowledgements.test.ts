import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { revised } from "../../model/cluster.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { Store } from "../../store/store.ts";
import { openIngress } from "../networks.ts";
import { newBackend, newTask } from "../task-testing.ts";
import { Sessions } from "./sessions.ts";
import { clientOf, Worker } from "./sessions-testing.ts";
import { newCluster, newNode } from "../testing.ts";

async function settled() {
  for (let n = 0; n < 30; n += 1) await turn();
}

/** Two managers over one store, nodes, and tasks that take connections on the ingress network, which is on every node. */
async function played(nodes: number) {
  const store = createMemoryStore();
  const rows = Array.from({ length: nodes }, (_, n) => newNode({ id: `node${n}` }));
  const tasks = ["t1", "t2"].map((id) => newTask({ id, nodeId: "elsewhere" }));
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    openIngress(tx, 0);
    const ingress = tx.list("networks")[0]?.id ?? "";
    for (const row of rows) tx.insert("nodes", row);
    for (const task of tasks) {
      tx.insert("tasks", task);
      tx.insert("backends", newBackend(ingress, task));
    }
  });
  const end = new AbortController();
  const manager = (self: string) => {
    const failed = (error: unknown) => {
      throw error;
    };
    const sessions = new Sessions({ store, self, now: () => 0, after: () => () => {}, failed });
    return { sessions, running: sessions.run(end.signal) };
  };
  const managers = { m1: manager("m1"), m2: manager("m2") };
  const open = async (node: string, at: keyof typeof managers = "m1") => {
    const worker = new Worker(clientOf(managers[at].sessions, node));
    await settled();
    return worker;
  };
  const acknowledged = (at: keyof typeof managers = "m1") => store.snapshot().get("acknowledgements", at)?.tasks;
  const stop = async () => {
    end.abort();
    await Promise.all(Object.values(managers).map(({ running }) => running));
  };
  return { store, open, acknowledged, stop };
}
/** As the leader does. */
async function drain(store: Store, id: string): Promise<void> {
  await store.update((tx) => {
    const task = tx.get("tasks", id);
    for (const { networkId } of tx.where("backends", "task", id)) tx.delete("backends", `${id}|${networkId}`);
    if (task !== undefined) tx.put("tasks", { ...task, drainingSince: 1, drainsTo: "shutdown" });
  });
  await settled();
}
async function told(store: Store, id: string): Promise<void> {
  await store.update((tx) => {
    const task = tx.get("tasks", id);
    if (task !== undefined) tx.put("tasks", { ...task, desired: "shutdown" });
  });
  await settled();
}
/** The last change that the node is to acknowledge. */
function asked({ received }: Worker) {
  const last = received.findLast((body) => body.case === "changes");
  return last?.case === "changes" && last.value.acknowledge ? last.value.revision : undefined;
}
async function answer(worker: Worker, revision = asked(worker)): Promise<void> {
  worker.say({ body: { case: "applied", value: { revision: revision ?? 0n } } });
  await settled();
}

describe("a task that is drained", () => {
  it("is acknowledged when every node of the manager has it in its kernel", async () => {
    const { store, open, acknowledged, stop } = await played(2);
    const [one, two] = [await open("node0"), await open("node1")];
    assert.equal(asked(one), undefined);
    await drain(store, "t1");
    assert.ok(asked(one) !== undefined && asked(two) !== undefined);
    await answer(one);
    assert.equal(acknowledged(), undefined);
    await answer(two);
    assert.deepEqual(acknowledged(), ["t1"]);
    await told(store, "t1");
    assert.equal(acknowledged(), undefined);
    await stop();
  });

  it("is told from one that has ended: nobody waits for that", async () => {
    const { store, open, stop } = await played(1);
    const worker = await open("node0");
    await store.update((tx) => {
      for (const { networkId } of tx.where("backends", "task", "t1")) tx.delete("backends", `t1|${networkId}`);
    });
    await settled();
    assert.equal(asked(worker), undefined);
    assert.match(JSON.stringify(worker.rows().at(-1)), /^\["backends","t1\|\w+",null\]$/);
    await stop();
  });

  it("is acknowledged at once by a manager without nodes", async () => {
    const { store, acknowledged, stop } = await played(0);
    await settled();
    await drain(store, "t1");
    assert.deepEqual([acknowledged("m1"), acknowledged("m2")], [["t1"], ["t1"]]);
    await stop();
  });

  it("does not wait for what came after it, and an answer to what was not asked counts for nothing", async () => {
    const { store, open, acknowledged, stop } = await played(1);
    const worker = await open("node0");
    await drain(store, "t1");
    const first = asked(worker);
    await answer(worker, (first ?? 0n) - 1n);
    assert.equal(acknowledged(), undefined);
    await drain(store, "t2");
    await answer(worker, first);
    assert.deepEqual(acknowledged(), ["t1"]);
    await answer(worker);
    assert.deepEqual(acknowledged(), ["t1", "t2"]);
    await stop();
  });

  it("waits for a node whose stream broke, until it is back or taken for lost", async () => {
    const { store, open, acknowledged, stop } = await played(1);
    const worker = await open("node0");
    worker.end();
    await settled();
    await drain(store, "t1");
    assert.equal(acknowledged(), undefined);
    const again = await open("node0");
    assert.equal(acknowledged(), undefined);
    await answer(again);
    assert.deepEqual(acknowledged(), ["t1"]);
    again.end();
    await settled();
    await drain(store, "t2");
    assert.deepEqual(acknowledged() ?? [], []);
    await store.update((tx) => {
      const row = tx.get("nodes", "node0");
      if (row !== undefined) tx.put("nodes", revised(row, { status: { ...row.status, state: "down" } }, 0));
    });
    await settled();
    assert.deepEqual(acknowledged(), ["t1", "t2"]);
    await stop();
  });

  it("is not acknowledged any more by the manager that a node comes to, until the node has answered there", async () => {
    const { store, open, acknowledged, stop } = await played(1);
    const worker = await open("node0", "m1");
    await drain(store, "t1");
    assert.deepEqual([acknowledged("m1"), acknowledged("m2")], [undefined, ["t1"]]);
    const moved = await open("node0", "m2");
    assert.deepEqual([acknowledged("m1"), acknowledged("m2")], [["t1"], undefined]);
    await answer(moved);
    assert.deepEqual(acknowledged("m2"), ["t1"]);
    worker.end();
    await stop();
  });
});
