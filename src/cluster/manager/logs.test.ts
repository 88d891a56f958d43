import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { notFound } from "../../lib/errors.ts";
import type { NodeId } from "../../model/cluster.ts";
import type { Service, Task } from "../../model/service.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { callerOf, ControlServer } from "../calls/control-server.ts";
import { LogsWantedSchema, Node, PublishLogsRequestSchema } from "../gen/control_pb.ts";
import { trustBundle } from "../identity/authority.ts";
import { clusterId, newAuthority, node as newHolder, type Node as Holder } from "../identity/testing.ts";
import { LogBroker, type LogSelection, type Wanted } from "./log-broker.ts";
import type { LoggedLine, ReadTaskLog, TaskLogOptions } from "../calls/task-logs.ts";
import { publishLogs } from "../node/log-publisher.ts";
import { newNode } from "../testing.ts";

const authority = newAuthority();
const roots = trustBundle(authority);
const credentialsOf = ({ key, cert }: Holder) => ({ key, certificate: cert, roots });
const options: TaskLogOptions = { follow: false, stdout: true, stderr: true, since: 0 };
const open: { close(): unknown }[] = [];
after(async () => {
  for (const one of open) await one.close();
});

const line = (text: string, stream: LoggedLine["stream"] = "stdout"): LoggedLine => ({
  stream,
  time: "2026-01-02T03:04:05.000000001Z",
  data: Buffer.from(`${text}\n`),
});
async function* linesOf(...texts: string[]): AsyncIterable<LoggedLine> {
  for (const text of texts) yield line(text);
}

const idOf = (name: string): NodeId => name.padEnd(25, "0");
const log =
  (...texts: string[]): ReadTaskLog =>
  async () =>
    linesOf(...texts);

/** A manager, and nodes with tasks whose logs are played, over real connections. */
async function play(nodes: Readonly<Record<string, Readonly<Record<string, ReadTaskLog>>>>) {
  const store = createMemoryStore();
  const self = newHolder(authority, { role: "manager" });
  const manager = self.subject.nodeId;
  const holders = new Map(Object.keys(nodes).map((name) => [idOf(name), newHolder(authority, { nodeId: idOf(name) })]));
  const logs = Object.assign({}, ...Object.values(nodes)) as Readonly<Record<string, ReadTaskLog>>;
  const heard: Wanted[] = [];
  const ends: Promise<unknown>[] = [];
  const stop = new AbortController();
  let address = "";
  const read: ReadTaskLog = async (task, ...how) => logs[task]?.(task, ...how) ?? linesOf();
  const broker = new LogBroker({
    store,
    self: manager,
    get address() {
      return address;
    },
    tell: (node, wanted) => {
      heard.push(wanted);
      const holder = holders.get(node);
      if (holder === undefined) return false;
      const how = { address, credentials: credentialsOf(holder), read };
      ends.push(publishLogs(create(LogsWantedSchema, wanted), how, stop.signal).catch((error: unknown) => error));
      return true;
    },
    ask: async () => {
      throw new Error("nobody is there");
    },
    after: (_, call) => {
      const timer = setTimeout(call, 500);
      return () => clearTimeout(timer);
    },
  });
  const server = new ControlServer(credentialsOf(self), clusterId, {
    routes: (router) =>
      void router.service(Node, {
        publishLogs: async (requests, context) => {
          await broker.publish(callerOf(context).identity?.nodeId ?? "", requests);
          return {};
        },
      }),
    standing: () => "worker",
    failed: (error) => assert.fail(String(error)),
  });
  address = `127.0.0.1:${(await server.listen("127.0.0.1", 0)).port}`;
  open.push({ close: () => stop.abort() }, server);
  const status = { state: "ready", message: "", address: "", holder: manager } as const;
  await store.update((tx) => {
    const role = { address, reachability: "reachable", leader: true, memberId: "" } as const;
    tx.insert("nodes", newNode({ id: manager, role: "manager", manager: role }));
    tx.insert("services", { id: "web" } as Service);
    for (const [name, tasks] of Object.entries(nodes)) {
      tx.insert("nodes", newNode({ id: idOf(name), status }));
      for (const key of Object.keys(tasks)) tx.insert("tasks", taskOn(name, key));
    }
  });
  const gather = async (selection: LogSelection = { service: "web" }, wish: Partial<TaskLogOptions> = {}) => {
    const texts: string[] = [];
    for await (const one of broker.read(selection, { ...options, ...wish }, AbortSignal.timeout(10_000)))
      texts.push(`${one.nodeId.replace(/0*$/, "")} ${one.serviceId} ${one.taskId} ${Buffer.from(one.data)}`.trimEnd());
    return texts;
  };
  return { store, broker, heard, ends, holders, gather, status };
}

const state = (name: Task["status"]["state"]) => ({ state: name, at: 0, message: "", error: "" });
const taskOn = (node: string | undefined, id: string, change: Partial<Task> = {}) =>
  ({
    id,
    serviceId: "web",
    ...(node !== undefined && { nodeId: idOf(node) }),
    desired: "running",
    status: { ...state("running"), container: { id: "c", pid: 1, exitCode: 0 } },
    ...change,
  }) as Task;

test("what tasks on several nodes have said comes together, each line with its task", async () => {
  const many = Array.from({ length: 3000 }, (_, at) => `${at} ${"x".repeat(500)}`);
  const { gather, heard, ends } = await play({
    n1: { a: log("one", "two"), b: log(...many) },
    n2: { c: log("three") },
  });
  const texts = await gather({ service: "web" }, { tail: 5, since: 7, stderr: false });
  assert.deepEqual(texts.filter((text) => !text.includes(" b ")).toSorted(), [
    "n1 web a one",
    "n1 web a two",
    "n2 web c three",
  ]);
  const ofB = texts.filter((text) => text.startsWith("n1 web b "));
  assert.deepEqual(
    ofB,
    many.map((text) => `n1 web b ${text}`),
  );
  assert.deepEqual([heard[0]?.taskIds, heard[0]?.tail, heard[0]?.since, heard[0]?.stderr], [["a", "b"], 5n, 7n, false]);
  assert.deepEqual(await Promise.all(ends), [undefined, undefined]);
});

test("one task's log is its own, and of one that nobody has placed there is none", async () => {
  const { gather, heard, store } = await play({ n1: { a: log("one"), b: log("two") } });
  assert.deepEqual(await gather({ task: "a" }), ["n1 web a one"]);
  assert.deepEqual(
    heard.map(({ taskIds }) => taskIds),
    [["a"]],
  );
  await store.update((tx) => {
    tx.put("tasks", taskOn(undefined, "w", { status: state("pending") }));
    tx.put("tasks", taskOn(undefined, "v", { desired: "shutdown", status: state("shutdown") }));
    tx.put("tasks", taskOn("n1", "u", { status: state("preparing") }));
  });
  const waiting =
    "rpc error: code = Unknown desc = warning: incomplete log stream. some logs could not be retrieved for the following reasons: task w has not been scheduled";
  await assert.rejects(gather(), { class: "system", message: waiting });
  assert.deepEqual([await gather({ task: "v" }), await gather({ task: "u" })], [[], []]);
});

test("nodes that do not answer, and tasks without a log, are told at the end", async () => {
  const gone: ReadTaskLog = async () => {
    throw notFound("it has no container on its node");
  };
  const { broker, store, status } = await play({ n1: { a: log("one") }, n2: { b: gone } });
  await store.update((tx) => {
    for (const name of ["lost", "down", "mute", "far"]) tx.insert("tasks", taskOn(name, `t-${name}`));
    tx.insert("nodes", newNode({ id: idOf("down"), status: { ...status, state: "down" } }));
    tx.insert("nodes", newNode({ id: idOf("mute"), status }));
    tx.insert("nodes", newNode({ id: idOf("far"), status: { ...status, holder: idOf("n1") } }));
  });
  const texts: string[] = [];
  const reading = (async () => {
    for await (const { data } of broker.read({ service: "web" }, options, AbortSignal.timeout(10_000)))
      texts.push(Buffer.from(data).toString());
  })();
  await assert.rejects(reading, (error: Error) => {
    const reasons = ["lost", "down", "mute", "far"].map((name) => `node ${idOf(name)} is not available`);
    for (const reason of [...reasons, "task b: it has no container on its node"])
      assert.ok(error.message.includes(reason), `${reason} in ${error.message}`);
    return true;
  });
  assert.deepEqual(texts, ["one\n"]);
});

test("a follower hears what is said later, tasks that come later among them, until it leaves", async () => {
  const said = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const slowly: ReadTaskLog = async (_, __, signal) =>
    (async function* () {
      yield line("first");
      await said.promise;
      yield line("later", "stderr");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      closed.resolve();
    })();
  const { broker, store, ends } = await play({ n1: { a: slowly }, n2: { b: log("new") } });
  await store.update((tx) => tx.put("tasks", taskOn("n2", "b", { status: state("preparing") })));
  const leave = new AbortController();
  const texts: string[] = [];
  const all = broker.read({ service: "web" }, { ...options, follow: true }, leave.signal);
  for await (const { taskId, stream, data } of all) {
    texts.push(`${taskId} ${stream} ${Buffer.from(data)}`.trimEnd());
    if (texts.length === 1) said.resolve();
    if (texts.length === 2) await store.update((tx) => tx.put("tasks", taskOn("n2", "b")));
    if (texts.length === 3) leave.abort();
  }
  assert.deepEqual(texts, ["a stdout first", "a stderr later", "b stdout new"]);
  await closed.promise;
  const [ofA] = await Promise.all(ends);
  assert.match(String(ofA), /the reader is gone/);
});

test("who follows one task is let go when that has ended, and of a service when that is gone", async () => {
  const { gather, store } = await play({ n1: { a: log("one"), b: log("two") } });
  assert.deepEqual(await gather({ task: "a" }, { follow: true }), ["n1 web a one"]);
  const following = gather({ service: "web" }, { follow: true });
  await store.update((tx) => tx.delete("services", "web"));
  assert.deepEqual((await following).toSorted(), ["n1 web a one", "n1 web b two"]);
});

test("a reader that does not read makes the node wait", async () => {
  const line100 = "x".repeat(100_000);
  let count = 0;
  const endless: ReadTaskLog = async (_, __, signal) =>
    (async function* () {
      for (; !signal.aborted; count += 1) yield line(line100);
    })();
  const { broker, ends } = await play({ n1: { a: endless } });
  const leave = new AbortController();
  for await (const _ of broker.read({ service: "web" }, options, leave.signal)) {
    let before = -1;
    while (before !== count) {
      before = count;
      await sleep(200);
    }
    assert.ok(count < 200, `${count} lines of 100,000 bytes were read ahead`);
    leave.abort();
    break;
  }
  await Promise.all(ends);
});

test("who was not asked is not heard", async () => {
  const { broker, gather } = await play({ n1: { a: log("one") } });
  async function* forged(subscriptionId: string) {
    yield create(PublishLogsRequestSchema, { subscriptionId });
  }
  async function* none() {}
  for (const requests of [forged("x"), forged(""), none()])
    await assert.rejects(broker.publish(idOf("n1"), requests), { class: "not-found" });
  assert.deepEqual(await gather(), ["n1 web a one"]);
});

test("a node that floods a reader waits, also with empty lines, and its complaints are few", async () => {
  const store = createMemoryStore();
  const [self, node] = [idOf("m"), idOf("n1")];
  let sent = 0;
  async function* flood({ subscriptionId = "" }: Wanted) {
    const troubles = Array.from({ length: 1000 }, (_, at) => `${at} ${"x".repeat(5000)}`);
    yield create(PublishLogsRequestSchema, { subscriptionId, troubles });
    const lines = Array.from({ length: 1000 }, () => ({ taskId: "a" }));
    for (; sent < 40; sent += 1) {
      await turn();
      yield create(PublishLogsRequestSchema, { subscriptionId, lines });
    }
  }
  const broker: LogBroker = new LogBroker({
    store,
    self,
    address: "",
    tell: (to, wanted) => {
      void broker.publish(to, flood(wanted));
      return true;
    },
    ask: () => Promise.reject(new Error("nobody is there")),
    after: () => () => {},
  });
  const manager = { address: "", reachability: "reachable", leader: true, memberId: "" } as const;
  await store.update((tx) => {
    tx.insert("nodes", newNode({ id: self, role: "manager", manager }));
    tx.insert("nodes", newNode({ id: node, status: { state: "ready", message: "", address: "", holder: self } }));
    tx.insert("tasks", taskOn("n1", "a"));
  });
  let ahead = 0;
  const read = async () => {
    for await (const _ of broker.read({ task: "a" }, options, AbortSignal.timeout(30_000))) {
      if (ahead > 0) continue;
      for (let before = -1; before !== sent; await sleep(50)) before = sent;
      ahead = sent;
    }
  };
  await assert.rejects(read(), ({ message }: Error) => message.length < 150_000);
  assert.ok(ahead < 30, `${ahead},000 empty lines were taken ahead`);
});
