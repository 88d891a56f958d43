import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { toJsonBytes } from "../../lib/json-bytes.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { refusingStore } from "../../store/refusing-testing.ts";
import { StoreError } from "../../store/store.ts";
import { ReportSchema } from "../gen/control_pb.ts";
import { readReport, Reports } from "./reports.ts";
import { newTask } from "../task-testing.ts";

const status = { state: "running", at: 1, message: "started", error: "" };
const report = (row: unknown, key = "t1", table = "tasks") =>
  create(ReportSchema, { table, key, row: toJsonBytes(row) });
async function settled() {
  for (let n = 0; n < 20; n += 1) await turn();
}

describe("a report", () => {
  const address = { address: "10.0.0.2", prefix: 24, gateway: "10.0.0.1" };
  const whole = {
    status: {
      ...status,
      container: { id: "c".repeat(64), pid: 7, exitCode: 0 },
      ports: [{ name: "", protocol: "tcp", target: 80, published: 32_768, mode: "host", address: "192.0.2.1" }],
    },
    attachments: [{ network: "n", addresses: [address] }],
  };
  it("is read, without what nobody asks for", () => {
    const { gateway: _, ...plain } = address;
    const read = readReport(toJsonBytes({ ...whole, nodeId: "n9" }));
    assert.deepEqual(read, { ...whole, attachments: [{ network: "n", addresses: [plain] }] });
  });
  it("has texts that fit into a row", () => {
    const read = readReport(toJsonBytes({ ...whole, status: { ...status, error: "x".repeat(1e6) } }));
    assert.equal(read.status.error.length, 2000);
  });
  const bad: Readonly<Record<string, unknown>> = {
    "no JSON": undefined,
    "a state of another's": { ...whole, status: { ...status, state: "orphaned" } },
    "a state before it was the node's": { ...whole, status: { ...status, state: "pending" } },
    "no status": { attachments: [] },
    "too many addresses": { ...whole, attachments: [{ network: "n", addresses: [address, address, address] }] },
    "too many networks": { ...whole, attachments: Array(101).fill({ network: "n", addresses: [] }) },
    "a port that is none": {
      ...whole,
      status: { ...whole.status, ports: [{ ...whole.status.ports[0], published: 70_000 }] },
    },
  };
  for (const [what, row] of Object.entries(bad))
    it(`with ${what} is refused`, () =>
      assert.throws(
        () => readReport(row === undefined ? new Uint8Array([1]) : toJsonBytes(row)),
        /a report of a task is malformed/,
      ));
});

describe("reports", () => {
  async function taken() {
    const store = createMemoryStore();
    await store.update((tx) => tx.insert("tasks", newTask({ id: "t1", nodeId: "n1" })));
    const flaky = { refuses: 0, writes: 0 };
    const failures: unknown[] = [];
    const later: (() => void)[] = [];
    const refusing = refusingStore(store, () => {
      flaky.writes += 1;
      if (flaky.refuses === 0) return undefined;
      flaky.refuses -= 1;
      return new StoreError("UNAVAILABLE", "no answer");
    });
    const after = (_: number, call: () => void) => {
      later.push(call);
      return () => {};
    };
    const reports = new Reports({ store: refusing, now: () => 5, after, failed: (error) => failures.push(error) });
    const task = () => store.snapshot().get("tasks", "t1")?.status;
    return { reports, flaky, failures, later, task };
  }

  it("are written; of many of one task the last", async () => {
    const { reports, task, flaky } = await taken();
    for (const state of ["accepted", "preparing", "ready", "starting", "running"])
      reports.take("n1", report({ status: { ...status, state }, attachments: [] }));
    await settled();
    assert.deepEqual([task()?.state, task()?.at, flaky.writes], ["running", 5, 2]);
  });

  it("are written again when the store did not answer, the last of them", async () => {
    const { reports, task, flaky, failures, later } = await taken();
    flaky.refuses = 1;
    reports.take("n1", report({ status: { ...status, state: "ready" }, attachments: [] }));
    await settled();
    reports.take("n1", report({ status, attachments: [] }));
    await settled();
    assert.deepEqual([task()?.state, failures.length], ["assigned", 1]);
    later.pop()?.();
    await settled();
    assert.equal(task()?.state, "running");
  });

  it("of tasks that there are not cost nothing", async () => {
    const { reports, flaky, failures } = await taken();
    for (let n = 2; n < 1000; n += 1) reports.take("n1", report({ status, attachments: [] }, `t${n}`));
    await settled();
    assert.deepEqual([flaky.writes, failures.length], [0, 0]);
  });

  it("of another node's task, malformed ones, and of other tables are not; those that follow are", async () => {
    const { reports, task, failures, later } = await taken();
    reports.take("n2", report({ status, attachments: [] }));
    reports.take("n1", report({ status }));
    reports.take("n1", report({ status, attachments: [] }, "t1", "networks"));
    await settled();
    assert.deepEqual([task()?.state, failures.length, later.length], ["assigned", 2, 0]);
    reports.take("n1", report({ status, attachments: [] }));
    await settled();
    assert.equal(task()?.state, "running");
  });
});
