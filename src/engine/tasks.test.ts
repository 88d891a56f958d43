import assert from "node:assert/strict";
import { test } from "node:test";
import { newTask, newSpec, onNetwork, playCluster } from "./cluster-testing.ts";
import { createServices } from "./services.ts";
import { createTasks } from "./tasks.ts";

async function play() {
  const cluster = await playCluster();
  const services = createServices(cluster.parts);
  const shop = await cluster.network("shop");
  const labels = { stack: "s1" };
  const web = await services.create(
    newSpec({ labels, task: { serviceLabels: labels, networks: [onNetwork(shop.id)] } }),
  );
  const job = await services.create(newSpec({ name: "job", mode: { kind: "global-job" } }));
  const on = [{ network: shop.id, addresses: [{ address: "10.0.1.3", prefix: 24 }] }];
  const template = services.inspect("web").spec.task;
  await cluster.store.update((tx) => {
    tx.insert("tasks", newTask("ta1", { serviceId: web, serviceName: "web", slot: 1, template, attachments: on }));
    const node = { nodeId: cluster.manager.id, desired: "shutdown", templateVersion: 0 } as const;
    tx.insert("tasks", newTask("ta2", { serviceId: web, serviceName: "web", slot: 1, template, ...node }));
    tx.insert("tasks", newTask("tb1", { serviceId: job, serviceName: "job", jobIteration: 0, nodeId: "other" }));
    tx.insert("tasks", newTask("tb2", { serviceId: job, serviceName: "job", jobIteration: 1, templateVersion: 9 }));
    tx.insert("tasks", newTask("tc", { serviceId: "gone" }));
  });
  const tasks = createTasks(cluster.parts);
  const list = (filters: Record<string, string[]>) =>
    tasks.list(new Map(Object.entries(filters))).map(({ task }) => task.id);
  return { cluster, services, tasks, list, web, shop };
}

test("tasks are found by what Docker finds them by", async () => {
  const { list, web, cluster, services } = await play();
  assert.deepEqual(list({}), ["ta1", "ta2", "tb1", "tb2", "tc"]);
  assert.deepEqual(list({ service: ["web"] }), ["ta1", "ta2"]);
  assert.deepEqual(list({ service: ["web", web, "job"] }), ["ta1", "ta2", "tb1", "tb2"]);
  assert.deepEqual(list({ node: ["h1"] }), ["ta2"]);
  assert.deepEqual(list({ service: ["job"], node: [cluster.manager.id] }), []);
  assert.deepEqual(list({ "desired-state": ["Running"] }), ["ta1", "tb1", "tb2", "tc"]);
  assert.deepEqual(list({ label: ["stack=s1"] }), ["ta1", "ta2"]);
  assert.deepEqual(
    [list({ name: ["web.1.ta"] }), list({ id: ["tb"] })],
    [
      ["ta1", "ta2"],
      ["tb1", "tb2"],
    ],
  );
  assert.deepEqual([list({ runtime: ["container", ""] }).length, list({ runtime: ["plugin"] })], [5, []]);
  assert.deepEqual(list({ "_up-to-date": ["true"] }), ["ta1", "tb1"]);
  const { version } = services.inspect("job");
  await services.update("job", {
    version,
    spec: newSpec({ name: "job", mode: { kind: "global-job" } }),
    registryAuthFrom: "spec",
  });
  assert.deepEqual(list({ "_up-to-date": ["true"], service: ["job"] }), ["tb2"]);
  assert.throws(() => list({ service: ["db"] }), { class: "not-found", message: "service db not found" });
  assert.throws(() => list({ node: ["h9"] }), { class: "not-found", message: "node h9 not found" });
  assert.throws(() => list({ "desired-state": ["x"] }), { message: "Invalid desired-state filter: 'x'" });
  assert.throws(() => list({ foo: ["x"] }), { class: "invalid", message: "invalid filter 'foo'" });
});

test("a task is shown with its networks, by id, name or the beginning of an id", async () => {
  const { tasks, shop } = await play();
  for (const reference of ["ta1", "web.1.ta1"]) assert.equal(tasks.inspect(reference).task.id, "ta1");
  assert.equal(tasks.inspect("tc").task.id, "tc");
  const [on] = tasks.inspect("ta1").attachments;
  assert.deepEqual(
    [on?.network.id, on?.pools[0]?.subnet, on?.addresses[0]?.address],
    [shop.id, "10.0.1.0/24", "10.0.1.3"],
  );
  assert.throws(() => tasks.inspect("ta"), { class: "invalid", message: "task ta is ambiguous (2 matches found)" });
  assert.throws(() => tasks.inspect(""), { class: "not-found" });
  assert.throws(() => tasks.inspect("nope"), { class: "not-found", message: "task nope not found" });
});
