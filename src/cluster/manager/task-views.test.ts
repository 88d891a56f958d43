import assert from "node:assert/strict";
import { it } from "node:test";
import type { Network } from "../../model/network.ts";
import type { Peer } from "../../model/peer.ts";
import type { Task } from "../../model/service.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { Transaction } from "../../store/store.ts";
import { Feed } from "./feed.ts";
import { newSwarmId } from "../identity/names.ts";
import { fileReference, newBackend, newFile, newTask, newVirtualService } from "../task-testing.ts";
import { newCluster, newNode } from "../testing.ts";

const watched = ["secrets", "configs", "tasks", "virtualServices", "backends"];
const network = (id: string, ingress = false) =>
  ({ id, scope: "cluster", spec: { name: id, ingress }, pools: [] }) as unknown as Network;
const peer = (id: string, networkId: string, nodeId: string) =>
  ({ id, networkId, nodeId, addresses: [] as const }) as unknown as Peer;

/** A node as its stream makes it: rows by table and key, in the order in which they came. */
class Receiver {
  readonly rows = new Map<string, unknown>();
  readonly ended: Promise<void>;

  constructor(feed: Feed, node: string, signal: AbortSignal) {
    const outbox = feed.open(node);
    this.ended = (async () => {
      for await (const { body } of outbox.messages(signal))
        if (body?.case === "changes")
          for (const { table = "", key = "", row } of body.value.changes ?? []) this.#take(table, key, row);
    })();
  }
  #take(table: string, key: string, row: Uint8Array | undefined): void {
    if (row === undefined) this.rows.delete(`${table}/${key}`);
    else this.rows.set(`${table}/${key}`, JSON.parse(new TextDecoder().decode(row)));
  }
  /** The keys of what concerns services. */
  keys(): string[] {
    return [...this.rows.keys()].filter((key) => watched.includes(key.split("/")[0] ?? "")).toSorted();
  }
}

async function cluster(count: number) {
  const store = createMemoryStore();
  const nodes = Array.from({ length: count }, () => newNode());
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const node of nodes) tx.insert("nodes", node);
    for (const row of [network("ingress", true), network("a"), network("b")]) tx.insert("networks", row);
  });
  const feed = new Feed(store.snapshot());
  const end = new AbortController();
  const running = (async () => {
    for await (const commit of store.watch(end.signal)) feed.pass(commit);
  })();
  const receivers: Receiver[] = [];
  const settle = async () => {
    for (let n = 0; n < 10; n += 1) await new Promise(setImmediate);
  };
  return {
    store,
    ids: nodes.map(({ id }) => id),
    async open(id: string) {
      const receiver = new Receiver(feed, id, end.signal);
      receivers.push(receiver);
      await settle();
      return receiver;
    },
    async change(how: (tx: Transaction) => void) {
      await store.update(how);
      await settle();
    },
    async stop() {
      end.abort();
      await Promise.all([running, ...receivers.map(({ ended }) => ended)]);
    },
  };
}

it("of all that services have, a node gets what its own tasks and networks need, and nothing else", async () => {
  const c = await cluster(6);
  const files = Array.from({ length: 8 }, () => newFile());
  const tasks = c.ids.flatMap((nodeId, at) =>
    [0, 1].map((more) => {
      const [one, other] = [files[(at + more) % 6], files[6 + (at % 2)]];
      assert.ok(one && other);
      return newTask({ nodeId }, { secrets: [fileReference(one)], configs: [fileReference(other)] });
    }),
  );
  const unplaced = newTask({}, { secrets: files.map((file) => fileReference(file)) });
  const services = ["ingress", "a", "b"].map((id) => newVirtualService(id));
  const live: Receiver[] = [];
  for (const id of c.ids) live.push(await c.open(id));
  await c.change((tx) => {
    for (const file of files) for (const table of ["secrets", "configs"] as const) tx.insert(table, file);
    for (const task of [...tasks, unplaced]) tx.insert("tasks", task);
    for (const service of services) tx.insert("virtualServices", service);
    for (const [at, nodeId] of c.ids.entries()) tx.insert("peers", peer(`p${at}`, at < 3 ? "a" : "b", nodeId));
    for (const task of tasks) for (const id of ["ingress", "a", "b"]) tx.insert("backends", newBackend(id, task));
  });
  const rows = c.store.snapshot();
  const all = watched.flatMap((table) =>
    rows.list(table as "tasks").map((row) => ({ table, row, key: `${table}/${keyOf(table, row)}` })),
  );
  assert.equal(all.length, 8 + 8 + 13 + 3 + 36);
  for (const [at, nodeId] of c.ids.entries()) {
    const own = tasks.filter((task) => task.nodeId === nodeId);
    const may = ({ table, row }: (typeof all)[number]) => {
      const networkId = (row as { networkId?: string }).networkId;
      if (networkId !== undefined) return networkId === "ingress" || networkId === (at < 3 ? "a" : "b");
      if (table === "tasks") return row.nodeId === nodeId;
      return own.some(({ template }) => template[table as "secrets"].some(({ id }) => id === row.id));
    };
    const wanted = all
      .filter(may)
      .map(({ key }) => key)
      .toSorted();
    assert.deepEqual(live[at]?.keys(), wanted, `node ${at}, by changes`);
    assert.deepEqual((await c.open(nodeId)).keys(), wanted, `node ${at}, by a snapshot`);
  }
  await c.stop();
});

const keyOf = (table: string, row: object) => {
  const { id, taskId, serviceId, networkId } = row as Record<string, string>;
  return table === "backends"
    ? `${taskId}|${networkId}`
    : table === "virtualServices"
      ? `${serviceId}|${networkId}`
      : id;
};

it("a task comes after what it needs, which stays as long as one of the node's tasks needs it", async () => {
  const c = await cluster(2);
  const [id = "", other = ""] = c.ids;
  const [file, more] = [newFile(), newFile()];
  const [node, stranger] = [await c.open(id), await c.open(other)];
  const task = (wish: Partial<Task> = {}) =>
    newTask({ nodeId: id, ...wish }, { secrets: [fileReference(file)], configs: [fileReference(more)] });
  const [first, second] = [task(), task()];
  await c.change((tx) => {
    tx.insert("secrets", file);
    tx.insert("configs", more);
  });
  assert.deepEqual(node.keys(), []);
  await c.change((tx) => tx.insert("tasks", first));
  const order = [...node.rows.keys()].slice(-3);
  assert.deepEqual(order, [`secrets/${file.id}`, `configs/${more.id}`, `tasks/${first.id}`]);
  await c.change((tx) => tx.insert("tasks", second));
  const ended = { state: "failed", at: 1, message: "", error: "" } as const;
  await c.change((tx) => tx.put("tasks", { ...first, status: ended }));
  assert.deepEqual(
    node.keys().filter((key) => !key.startsWith("tasks")),
    [`configs/${more.id}`, `secrets/${file.id}`],
  );
  assert.equal((node.rows.get(`tasks/${first.id}`) as Task).status.state, "assigned", "what it said itself");
  await c.change((tx) => tx.put("secrets", { ...file, labels: { a: "b" } }));
  assert.deepEqual((node.rows.get(`secrets/${file.id}`) as typeof file).labels, { a: "b" });
  await c.change((tx) => tx.put("tasks", { ...second, desired: "shutdown", status: ended }));
  assert.deepEqual(node.keys(), [`tasks/${first.id}`, `tasks/${second.id}`].toSorted());
  assert.equal((node.rows.get(`tasks/${second.id}`) as Task).desired, "shutdown");
  await c.change((tx) => {
    for (const { id: key } of [first, second]) tx.delete("tasks", key);
  });
  assert.deepEqual([node.keys(), stranger.keys()], [[], []]);
  await c.stop();
});

it("a task that is placed goes to its node then, and not before", async () => {
  const c = await cluster(2);
  const [id = "", other = ""] = c.ids;
  const [node, stranger] = [await c.open(id), await c.open(other)];
  const file = newFile({ id: newSwarmId() });
  const task = newTask({}, { secrets: [fileReference(file)] });
  await c.change((tx) => {
    tx.insert("secrets", file);
    tx.insert("tasks", task);
  });
  assert.deepEqual([node.keys(), stranger.keys()], [[], []]);
  const waiting = { state: "pending", at: 1, message: "", error: "insufficient resources on 1 node" } as const;
  await c.change((tx) => tx.put("tasks", { ...task, slot: 0, nodeId: id, status: waiting }));
  assert.deepEqual([node.keys(), stranger.keys()], [[], []], "that of a global service waits on its node");
  await c.change((tx) => tx.put("tasks", { ...task, nodeId: id }));
  assert.deepEqual([node.keys(), stranger.keys()], [[`secrets/${file.id}`, `tasks/${task.id}`], []]);
  await c.stop();
});

it("services of a network come with a node's first container there, and go with its last", async () => {
  const c = await cluster(2);
  const [id = "", other = ""] = c.ids;
  const node = await c.open(id);
  const [service, of] = [newVirtualService("a"), newTask({ nodeId: other })];
  await c.change((tx) => {
    tx.insert("virtualServices", service);
    tx.insert("backends", newBackend("a", of));
  });
  assert.deepEqual(node.keys(), []);
  await c.change((tx) => tx.insert("peers", peer("p", "a", id)));
  const keys = [`backends/${of.id}|a`, `virtualServices/${service.serviceId}|a`];
  assert.deepEqual(node.keys(), keys);
  await c.change((tx) => tx.delete("backends", `${of.id}|a`));
  assert.deepEqual(node.keys(), [keys[1]]);
  await c.change((tx) => tx.delete("peers", "p"));
  assert.ok(!node.rows.has("networks/a")); // the replica drops the rest with it
  await c.stop();
});
