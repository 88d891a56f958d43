import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container } from "../model/container.ts";
import type { LogOptions } from "../runtime/runtime.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { newTask } from "./cluster-testing.ts";
import type { Parts } from "./parts.ts";
import { taskLogReader } from "./service-logs.ts";

test("the log of a task is its container's, whatever that is called", async () => {
  const store = createMemoryStore();
  const seen: unknown[] = [];
  const logs = async function* ({ id }: Container, options: LogOptions) {
    seen.push([id, options]);
    yield { stream: "stdout" as const, time: "t", data: Buffer.from("a\n") };
  };
  const read = taskLogReader({ store, runtime: { processes: { logs } } as unknown as Parts["runtime"] });
  await store.update((tx) => {
    tx.insert("tasks", newTask("t1", { serviceId: "s", serviceName: "web", slot: 1 }));
    tx.insert("tasks", newTask("t2", { serviceId: "s", status: { state: "failed", at: 0, message: "", error: "" } }));
    tx.insert("tasks", newTask("t3", { serviceId: "s" }));
    tx.insert("containers", { id: "c1", name: "renamed", taskId: "t1" } as Container);
  });
  const options = { follow: false, stdout: true, stderr: false, since: 0, tail: 3 };
  const textsOf = async (task: string) =>
    Array.fromAsync(await read(task, options, AbortSignal.timeout(1000)), ({ data }) => Buffer.from(data).toString());
  assert.deepEqual(await textsOf("t1"), ["a\n"]);
  assert.deepEqual(seen, [["c1", { ...options, until: 0 }]]);
  assert.deepEqual(await textsOf("t2"), [], "its container may be gone");
  for (const task of ["t3", "t4"])
    await assert.rejects(textsOf(task), { class: "not-found", message: "it has no container on its node" });
});
