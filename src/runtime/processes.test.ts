import assert from "node:assert/strict";
import { it } from "node:test";
import { code } from "./containerd/client.ts";
import { Status } from "./containerd/gen/task_pb.ts";
import { ContainerProcesses, type ProcessParts } from "./processes.ts";

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
