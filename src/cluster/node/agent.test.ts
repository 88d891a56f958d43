import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import type { Task } from "../../model/service.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { Agent } from "./agent.ts";
import type { Calls, ControlClient } from "../calls/control-client.ts";
import { Node, type SessionRequest, type SessionResponse, SessionResponseSchema } from "../gen/control_pb.ts";
import { Replica } from "./replica.ts";
import { newTask } from "../task-testing.ts";
import { description } from "../testing.ts";
import { until } from "../../../test/support/until.ts";

/** One stream as a manager has it. */
class Stream {
  readonly heard: SessionRequest["body"][] = [];
  readonly #waiting: SessionResponse[] = [];
  #wake = () => {};
  #hasEnded = false;

  say(body: Parameters<typeof create<typeof SessionResponseSchema>>[1]): void {
    this.#waiting.push(create(SessionResponseSchema, body));
    this.#wake();
  }
  end(): void {
    this.#hasEnded = true;
    this.#wake();
  }
  async hear(messages: AsyncIterable<SessionRequest>): Promise<void> {
    for await (const { body } of messages) this.heard.push(body);
  }
  async *messages(): AsyncIterable<SessionResponse> {
    while (!this.#hasEnded) {
      yield* this.#waiting.splice(0);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  /** What was reported of tasks, in order. */
  get reports(): unknown[] {
    return this.heard.flatMap((body) => {
      if (body.case !== "report") return [];
      const { status } = JSON.parse(new TextDecoder().decode(body.value.row)) as Task;
      return [[body.value.key, status.state]];
    });
  }
  get applied(): number[] {
    return this.heard.flatMap((body) => (body.case === "applied" ? Number(body.value.revision) : []));
  }
}

/** A node's agent, and the manager's ends of its streams. */
function begin() {
  const store = createMemoryStore();
  const replica = new Replica({ store, tunnelMtu: () => 1450, onCluster() {} });
  replica.begin({ nodeId: "me", dataPath: "192.0.2.1", clusterId: "c" });
  const streams: Stream[] = [];
  const transport = createRouterTransport((router) =>
    router.service(Node, {
      session(messages) {
        const stream = new Stream();
        streams.push(stream);
        void stream.hear(messages).catch(() => {});
        return stream.messages();
      },
    }),
  );
  const client = {
    use: (run: (calls: Calls) => Promise<unknown>) => run({ node: createClient(Node, transport) } as unknown as Calls),
  } as unknown as ControlClient;
  const kernel = { turn: Promise.withResolvers<void>(), waiting: 0 };
  const nothing = () => {};
  const itself = { ...description };
  const agent = new Agent(
    client,
    { describe: () => ({ ...itself }), endpoints: () => [], tasks: (signal) => replica.tasks(signal) },
    {
      ...{
        managers: nothing,
        standing: nothing,
        cluster: nothing,
        connected: nothing,
      },
      lost: async () => {},
      logsWanted: async () => {},
      rows: (batch) => replica.receive(batch),
      settled: () => {
        kernel.waiting += 1;
        return kernel.turn.promise;
      },
    },
  );
  agent.start();
  const put = (task: Task) => store.update((tx) => tx.put("tasks", task));
  const stream = async (number: number) => {
    await until(() => streams[number] !== undefined);
    return streams[number] as Stream;
  };
  return { agent, store, put, stream, kernel, itself };
}
const at = (task: Task, state: Task["status"]["state"]): Task => ({ ...task, status: { ...task.status, state } });

it("says how its tasks are, what changes, and all of it again on the next stream", async () => {
  const { agent, store, put, stream } = begin();
  const [one, two, fresh] = ["1", "2", "3"].map((id) => newTask({ id, nodeId: "me" })) as [Task, Task, Task];
  for (const task of [at(one, "running"), at(two, "failed"), fresh]) await put(task);
  const first = await stream(0);
  await until(() => first.reports.length === 2);
  await put({ ...at(one, "running"), desired: "shutdown" }); // a manager's word is not said back
  await put(at(fresh, "accepted"));
  await until(() => first.reports.length === 3);
  assert.deepEqual(first.reports, [
    ["1", "running"],
    ["2", "failed"],
    ["3", "accepted"],
  ]);
  await store.update((tx) => tx.delete("tasks", "2"));
  first.end();
  const second = await stream(1);
  await until(() => second.reports.length === 2);
  assert.deepEqual(second.reports, [
    ["1", "running"],
    ["3", "accepted"],
  ]);
  assert.equal(second.heard[0]?.case, "register");
  await agent.stop();
});

it("says that its kernel has what it was asked for, when it has, and nothing of the rest", async () => {
  const { agent, stream, kernel } = begin();
  const manager = await stream(0);
  const changes = (revision: number, more: Partial<{ snapshot: boolean; more: boolean; acknowledge: boolean }>) =>
    manager.say({ body: { case: "changes", value: { revision: BigInt(revision), ...more } } });
  changes(1, { snapshot: true });
  changes(2, {});
  changes(3, { more: true, acknowledge: true }); // not to be used before the last
  await sleep(30);
  assert.equal(kernel.waiting, 0);
  changes(3, {});
  await until(() => kernel.waiting === 1);
  await sleep(30);
  assert.deepEqual(manager.applied, []);
  kernel.turn.resolve();
  await until(() => manager.applied.length === 1);
  changes(4, {});
  changes(5, { acknowledge: true });
  await until(() => manager.applied.length === 2);
  assert.deepEqual(manager.applied, [3, 5]);
  await agent.stop();
});

it("beats as often as it is told, whatever else it says", async () => {
  const { agent, put, stream } = begin();
  const manager = await stream(0);
  const beats = () => manager.heard.filter((body) => body.case === "beat").length;
  manager.say({ body: { case: "registered", value: { period: 20 } } });
  let said = 0;
  while (beats() < 5) {
    said += 1;
    await put(
      newTask({ id: "t", nodeId: "me", status: { state: "running", at: said, message: `${said}`, error: "" } }),
    );
    await sleep(5);
    assert.ok(said < 500, "it does not beat");
  }
  await until(() => manager.reports.length > 5);
  await agent.stop();
});

it("says with a beat what has changed of itself, once, and at once when it is told to look", async () => {
  const { agent, stream, itself } = begin();
  const manager = await stream(0);
  manager.say({ body: { case: "registered", value: { period: 20 } } });
  const beats = () => manager.heard.filter((body) => body.case === "beat").length;
  const hostnames = () => manager.heard.flatMap((body) => (body.case === "description" ? body.value.hostname : []));
  await until(() => beats() >= 2);
  assert.deepEqual(hostnames(), []);
  Object.assign(itself, { hostname: "another" });
  await until(() => hostnames().length > 0);
  const before = beats();
  await until(() => beats() >= before + 2);
  assert.deepEqual(hostnames(), ["another"]);
  manager.say({ body: { case: "registered", value: { period: 60_000 } } });
  await until(() => beats() >= before + 3);
  Object.assign(itself, { hostname: "a third" });
  agent.describe();
  await until(() => hostnames().length > 1);
  assert.deepEqual(hostnames(), ["another", "a third"]);
  await agent.stop();
});
