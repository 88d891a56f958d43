import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Task } from "../../model/service.ts";
import { plainSpec } from "../../model/network.ts";
import { type Row, Rows, RowsTransaction } from "../../store/rows.ts";
import type { TableName } from "../../store/tables.ts";
import { observe, type TaskReport } from "./observe.ts";
import { newTask } from "./testing.ts";

const status = { state: "starting", at: 0, message: "", error: "" } as const;
const place = { nodeId: "n1", status } as const;
const peer = (id: string, nodeId: string, networkId = "net") => ({
  ...{ id, networkId, containerId: id, containerName: "web.1", nodeId, hostname: nodeId },
  ...{ dataPath: "", mac: "", addresses: [], names: [] },
});
const claim = (address: string, owner: string) => ({ pool: "pool", address, kind: "endpoint", owner }) as const;
const network = { id: "net", scope: "cluster", pools: ["pool", "pool6"], predefined: false, createdAt: "" } as const;

function rowsWith(task: Partial<Task>): Rows {
  const rows: (readonly [TableName, Row])[] = [
    ["networks", { ...network, spec: { ...plainSpec, name: "net", driver: "overlay" } }],
    ["peers", peer("e1", "n1")],
    ["peers", peer("e2", "n2")],
    ["claims", claim("10.0.0.1", "e1")],
    ["claims", { ...claim("fd00::1", "e1"), pool: "pool6" }],
    ["claims", claim("10.0.0.2", "e2")],
    ["tasks", newTask({ ...place, ...task })],
  ];
  return Rows.of(0, rows);
}
const on = (...addresses: string[]): Task["attachments"] => [
  { network: "net", addresses: addresses.map((address) => ({ address, prefix: 24 })) },
];

/** What a report makes of a task, and the addresses of its backends. */
function reported(
  task: Partial<Task>,
  report: Partial<TaskReport["status"]>,
  attachments = on("10.0.0.1"),
  before = rowsWith(task),
) {
  const tx = new RowsTransaction(before);
  observe(tx, "n1", "task", { status: { ...status, ...report }, attachments }, 700);
  return { task: tx.get("tasks", "task"), backends: tx.list("backends").map(({ addresses }) => addresses), tx };
}

describe("what a node says of a task", () => {
  it("is written with the manager's time, and the time since it runs", () => {
    const seen = reported({}, { state: "running", at: 5, message: "started" }).task;
    assert.deepEqual(seen?.status, { state: "running", at: 700, message: "started", error: "" });
    assert.deepEqual([seen?.runningSince, seen?.attachments], [700, on("10.0.0.1")]);
  });

  it("does not change the time of a state that it had already", () => {
    const running = { status: { ...status, state: "running", at: 300 }, runningSince: 300 } as const;
    const seen = reported(running, { state: "running", message: "healthy" }).task;
    assert.deepEqual([seen?.status.at, seen?.status.message, seen?.runningSince], [300, "healthy", 300]);
  });

  it("changes nothing when it is late, when the task has ended, or has no place yet", () => {
    const late = [
      [{}, "preparing"],
      [{ status: { ...status, state: "failed" } }, "running"],
      [{ status: { ...status, state: "shutdown" } }, "failed"],
      [{ status: { ...status, state: "pending" } }, "running"],
    ] as const;
    for (const [task, state] of late) assert.deepEqual(reported(task, { state }).tx.changes(), []);
  });

  it("is refused for another node's task; a task without a row is nobody's", () => {
    assert.throws(() => reported({ nodeId: "n2" }, { state: "running" }), /task task is not node n1's/);
    const tx = new RowsTransaction(rowsWith({}));
    observe(tx, "n1", "gone", { status, attachments: [] }, 1);
    assert.deepEqual(tx.changes(), []);
  });
});

describe("backends", () => {
  it("are there while the task runs and is to go on, with all its addresses", () => {
    assert.deepEqual(reported({}, { state: "starting" }).backends, []);
    assert.deepEqual(reported({}, { state: "running" }, on("10.0.0.1", "fd00::1")).backends, [["10.0.0.1", "fd00::1"]]);
    for (const task of [{ desired: "shutdown" }, { drainingSince: 1, drainsTo: "shutdown" }] as const)
      assert.deepEqual(reported(task, { state: "running" }).backends, []);
  });

  it("have the task's name, node and service", () => {
    const [row] = reported({}, { state: "running" }).tx.list("backends");
    assert.deepEqual(row, {
      ...{ taskId: "task", serviceId: "service-web", networkId: "net", nodeId: "n1", name: "web.1.task" },
      addresses: ["10.0.0.1"],
    });
  });

  it("go when the task ends, and when it leaves the network", () => {
    const { tx } = reported({}, { state: "running" });
    const before = rowsWith({}).with(tx.changes(), 1);
    assert.deepEqual(reported({}, { state: "failed" }, on("10.0.0.1"), before).backends, []);
    assert.deepEqual(reported({}, { state: "running" }, [], before).backends, []);
  });

  it("have only addresses that the node has claimed on that network", () => {
    for (const address of ["10.0.0.2", "10.0.0.9", "192.0.2.1"]) {
      const { task, backends } = reported({}, { state: "running" }, on(address));
      assert.deepEqual([task?.attachments, backends], [on(), []]);
    }
    const elsewhere = [{ network: "other", addresses: [{ address: "10.0.0.1", prefix: 24 }] }];
    assert.deepEqual(reported({}, { state: "running" }, elsewhere).backends, []);
  });
});
