import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { until } from "../../test/support/until.ts";
import type { Container } from "../model/container.ts";
import { plainContainer } from "../model/container-testing.ts";
import { code } from "./containerd/client.ts";
import { Status } from "./containerd/gen/task_pb.ts";
import { ContainerProcesses, type ProcessParts } from "./processes.ts";
import { makeFifos, namesIn } from "./stdio.ts";

const [slow, lost, never] = ["a", "b", "c"].map((digit) => digit.repeat(64)) as [string, string, string];

it("a task of which containerd cannot tell yet is asked for again, and is not taken for ended", async () => {
  const asked: string[] = [];
  const unknown = (id: string) => ({ id, containerId: "", pid: 0, status: Status.UNKNOWN, stdout: "", stderr: "" });
  const tasks = {
    list: async () => ({ tasks: [slow, lost, never].map(unknown) }),
    async get({ containerId: id }: { containerId: string }) {
      asked.push(id);
      if (id === lost) throw Object.assign(new Error("not found"), { code: code.notFound });
      const isTold = id === slow && asked.filter((one) => one === slow).length === 3;
      return { process: isTold ? { ...unknown(id), pid: 7, status: Status.PAUSED } : unknown(id) };
    },
  };
  const containers = { list: async () => ({ containers: [slow, lost, never].map((id) => ({ id })) }) };
  const snapshots = { async *list() {} };
  const client = { tasks, containers, snapshots } as unknown as ProcessParts["client"];
  const processes = new ContainerProcesses({ client, execRoot: "/none", dataRoot: "/none" } as ProcessParts);
  const found = await processes.list();
  assert.deepEqual(
    found.map(({ id, task }) => [id, task?.status, task?.pid]),
    [
      [slow, "paused", 7],
      [lost, undefined, undefined],
      [never, "running", 0],
    ],
  );
  assert.deepEqual(
    [slow, lost, never].map((id) => asked.filter((one) => one === id).length),
    [3, 1, 10],
  );
});

it("an exec of which containerd cannot tell is not let go; of a container that has ended it is", async (test) => {
  const execRoot = await mkdtemp(join(tmpdir(), "tombolo-processes-"));
  test.after(() => rm(execRoot, { recursive: true, force: true }));
  const fifos = join(execRoot, "io");
  for (const [refusal, status, left] of [
    [code.notFound, Status.RUNNING, []],
    [code.unavailable, Status.STOPPED, []],
    [code.unavailable, Status.RUNNING, ["exec"]],
  ] as const) {
    makeFifos(fifos, "exec", { tty: true, stdin: false });
    const tasks = {
      list: async () => ({ tasks: [{ id: slow, status }] }),
      listPids: () => Promise.reject(Object.assign(new Error("no"), { code: refusal })),
      deleteProcess: async () => {},
    };
    const containers = { list: async () => ({ containers: [{ id: slow }] }) };
    const client = { tasks, containers, snapshots: { async *list() {} } } as unknown as ProcessParts["client"];
    const processes = new ContainerProcesses({ client, execRoot, dataRoot: "/none" } as ProcessParts);
    await processes.takeUpExecs();
    assert.deepEqual(namesIn(fifos), left, `${refusal} ${status}`);
    await processes.ended({ containerId: slow, execId: "exec", exitCode: 0, exitedAt: "", oomKilled: false });
    assert.deepEqual(namesIn(fifos), []);
  }
});

it("a container stands still when the execs that were being started have been, and none is started meanwhile", async (test) => {
  const execRoot = await mkdtemp(join(tmpdir(), "tombolo-processes-"));
  test.after(() => rm(execRoot, { recursive: true, force: true }));
  const calls: string[] = [];
  const done = { start: Promise.withResolvers<void>(), pause: Promise.withResolvers<void>() };
  const tasks = {
    async exec({ execId }: { execId: string }) {
      calls.push(`exec ${execId}`);
    },
    async start({ execId }: { execId: string }) {
      if (execId === "first") await done.start.promise;
      calls.push(`started ${execId}`);
      return { pid: 7 };
    },
    async pause() {
      calls.push("pause");
      await done.pause.promise;
      calls.push("paused");
    },
    deleteProcess: async () => {},
  };
  const snapshots = { mounts: async () => ({ mounts: [] }) };
  const client = { tasks, snapshots } as unknown as ProcessParts["client"];
  const processes = new ContainerProcesses({ client, execRoot, dataRoot: "/none" } as ProcessParts);
  const container = { id: slow, spec: { ...plainContainer, user: "0" } } as unknown as Container;
  const plain = { args: ["true"], env: [], user: "", workingDir: "", tty: false, stdin: false, privileged: false };
  const exec = (id: string) => processes.exec(container, { ...plain, id, containerId: slow }, true);
  const first = exec("first");
  await until(() => calls.length === 1);
  const [paused, second] = [processes.pause(slow), exec("second")];
  await turn();
  assert.deepEqual(calls, ["exec first"]);
  done.start.resolve();
  await until(() => calls.includes("pause"));
  await turn();
  assert.deepEqual(calls, ["exec first", "started first", "pause"]);
  done.pause.resolve();
  await Promise.all([first, paused, second]);
  assert.deepEqual(calls.slice(3), ["paused", "exec second", "started second"]);
  for (const execId of ["first", "second"])
    await processes.ended({ containerId: slow, execId, exitCode: 0, exitedAt: "", oomKilled: false });
});
