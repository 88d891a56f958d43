import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { renewalDefaults } from "../../src/cluster/identity/renewal.ts";
import { runLeader } from "../../src/cluster/manager/leader.ts";
import { observe } from "../../src/cluster/orchestration/observe.ts";
import { isLive } from "../../src/cluster/orchestration/tasks.ts";
import { newSpec, policy, readyNode } from "../../src/cluster/orchestration/testing.ts";
import { changeService, openService } from "../../src/cluster/services.ts";
import { Sessions } from "../../src/cluster/manager/sessions.ts";
import { plainTemplate } from "../../src/cluster/task-testing.ts";
import { newCluster } from "../../src/cluster/testing.ts";
import { compareStates, hasEnded, type Task, type TaskState } from "../../src/model/service.ts";
import { type EtcdStore, openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import type { Snapshot } from "../../src/store/store.ts";
import { TestEtcd } from "../support/etcd.ts";
import { until } from "../support/until.ts";

let etcd: TestEtcd;
before(async () => {
  etcd = await TestEtcd.start(1);
});
after(() => etcd[Symbol.asyncDispose]());

const counts = { services: 8, replicas: 4, rounds: 15 } as const;
const managers = ["m1", "m2"] as const;

/** A manager that stands for leader. */
async function contender(self: string) {
  const client = etcd.client();
  const store = await openEtcdStore({ etcd: client, prefix: "/orchestration" });
  const { after: later } = renewalDefaults;
  const sessions = new Sessions({ store, self, now: Date.now, after: later, failed: () => {} });
  const log = { info() {}, warn() {} };
  const members = { list: () => [], add: () => {}, promote: () => {}, remove: () => {} } as never;
  let end = new AbortController();
  let running: Promise<void> | undefined;
  return {
    store,
    start() {
      end = new AbortController();
      const parts = { client, store, members, sessions, self, clusterId: "c", now: Date.now, after: later, log };
      running = runLeader(parts, end.signal);
    },
    async stop() {
      end.abort();
      await running;
    },
  };
}

/** What a task's node says next. */
function nextState({ status, desired }: Task): TaskState | undefined {
  if (hasEnded(status.state) || compareStates(status.state, "assigned") < 0) return undefined;
  if (compareStates(desired, "complete") > 0) return "shutdown";
  if (compareStates(status.state, "ready") < 0) return "ready";
  return desired === "running" && status.state !== "running" ? "running" : undefined;
}

/** All nodes in one: each task goes to where it is told, in its own time. */
async function obey(store: EtcdStore, signal: AbortSignal): Promise<void> {
  for await (const { snapshot, changed } of store.watch(signal))
    for (const { key } of changed.filter(({ table }) => table === "tasks")) {
      const task = snapshot.get("tasks", key);
      const state = task && nextState(task);
      if (state === undefined) continue;
      void sleep(Math.random() * 40).then(() =>
        store.update((tx) =>
          observe(
            tx,
            task?.nodeId ?? "",
            key,
            { status: { state, at: 0, message: "", error: "" }, attachments: [] },
            Date.now(),
          ),
        ),
      );
    }
}

function checkSlots(rows: Snapshot): void {
  const slots = Map.groupBy(rows.list("tasks").filter(isLive), ({ serviceName, slot }) => `${serviceName}.${slot}`);
  for (const [slot, tasks] of slots) assert.equal(tasks.length, 1, `slot ${slot}: ${JSON.stringify(tasks)}`);
}

it("leaders that follow each other over etcd leave every slot with one task, whatever they were about", async () => {
  const all = [await contender("m1"), await contender("m2")];
  const [first, second] = all as [(typeof all)[number], (typeof all)[number]];
  const manager = { address: "", reachability: "reachable", leader: false, memberId: "1" } as const;
  const update = { ...policy, parallelism: 2, monitor: 50 };
  const spec = newSpec({ mode: { kind: "replicated", replicas: counts.replicas }, update });
  const { store } = first;
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const id of managers) tx.insert("nodes", readyNode(id, { role: "manager", manager, availability: "drain" }));
    for (const id of ["n1", "n2", "n3"]) tx.insert("nodes", readyNode(id));
    for (let n = 0; n < counts.services; n += 1) openService(tx, { ...spec, name: `s${n}` }, Date.now());
  });
  const end = new AbortController();
  const obeying = obey(second.store, end.signal);
  const watching = (async () => {
    for await (const { snapshot } of store.watch(end.signal)) checkSlots(snapshot);
  })();
  for (const one of all) one.start();
  for (let round = 1; round <= counts.rounds; round += 1) {
    await sleep(100 + Math.random() * 200);
    await store.update((tx) => {
      for (const service of tx.list("services")) {
        const task = { ...plainTemplate, forceUpdate: round };
        changeService(tx, service, { ...service.spec, task }, Date.now());
      }
    });
    await sleep(Math.random() * 60);
    const one = round % 2 === 0 ? first : second;
    await one.stop();
    one.start();
  }
  const isDone = () => {
    const rows = store.snapshot();
    const running = rows.list("tasks").filter((task) => isLive(task) && task.status.state === "running");
    const isFresh = (task: Task) => task.template.forceUpdate === counts.rounds;
    return running.length === counts.services * counts.replicas && running.every(isFresh);
  };
  await until(isDone).catch(() => {}); // it is told below
  end.abort();
  await Promise.all([obeying, watching, ...all.map((one) => one.stop())]);
  assert.ok(isDone(), JSON.stringify(store.snapshot().list("tasks").filter(isLive)));
  for (const one of all) await one.store.close();
});
