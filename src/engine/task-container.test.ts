import assert from "node:assert/strict";
import { it } from "node:test";
import { newTask } from "../cluster/task-testing.ts";
import { plainContainer } from "../model/container-testing.ts";
import { type Network, plainSpec } from "../model/network.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { containerOf, volumesOf } from "./task-container.ts";

const node = { hostname: "h1", platform: { os: "linux", architecture: "x86_64" } };
const ingress = {
  id: "in",
  scope: "cluster",
  spec: { ...plainSpec, name: "ingress", ingress: true },
} as unknown as Network;
async function rows(...networks: Network[]) {
  const store = createMemoryStore();
  await store.update((tx) => {
    for (const network of networks) tx.insert("networks", network);
    tx.insert("names", { kind: "network", name: "bridge", id: "b" });
  });
  return store.snapshot();
}
const mount = { type: "volume", readOnly: false, propagation: "", options: "", copy: true } as const;

it("a task's container has Docker's name and labels, and its words are filled in", async () => {
  const container = {
    ...plainContainer,
    hostname: "{{.Node.Hostname}}-{{.Task.Slot}}",
    env: ["A={{.Service.Name}}", "B=x={{.Task.ID}}", "{{.Not.Filled}}"],
    labels: { own: "yes", "com.docker.swarm.task.id": "forged" },
    mounts: [{ ...mount, source: "data-{{.Task.Slot}}", target: "/{{.Service.ID}}" }],
    restart: { name: "always", maximumRetryCount: 0 } as const,
  };
  const hostConfig = { Memory: 5, Mounts: [{ Type: "volume", Source: "data-{{.Task.Slot}}", ReadOnly: false }] };
  const task = newTask(
    {
      id: "t1",
      slot: 3,
      nodeId: "n1",
      serviceId: "s1",
      hostPorts: [{ name: "", protocol: "udp", target: 53, published: 0, mode: "host" }],
    },
    { container, shown: { config: { Tty: true }, hostConfig, task: {} } },
  );
  const request = containerOf(task, node, await rows());
  assert.equal(request.name, "web.3.t1");
  const { name, spec } = containerOf({ ...task, slot: 1, jobIteration: 0 }, node, await rows());
  assert.deepEqual([name, spec.hostname], ["web.n1.t1", "h1-0"]);
  assert.equal(request.taskId, "t1");
  assert.deepEqual(request.spec.labels, {
    own: "yes",
    "com.docker.swarm.node.id": "n1",
    "com.docker.swarm.service.id": "s1",
    "com.docker.swarm.service.name": "web",
    "com.docker.swarm.task": "",
    "com.docker.swarm.task.id": "t1",
    "com.docker.swarm.task.name": "web.3.t1",
  });
  assert.equal(request.spec.hostname, "h1-3");
  assert.deepEqual(request.spec.env, ["A=web", "B=x=t1", "{{.Not.Filled}}"]);
  assert.deepEqual(request.spec.mounts, [{ ...mount, source: "data-3", target: "/s1" }]);
  assert.equal(request.spec.restart.name, "no");
  assert.deepEqual(request.spec.ports, [{ protocol: "udp", containerPort: 53, hostIp: "", hostPort: "" }]);
  assert.deepEqual(request.shown.config, { Tty: true });
  assert.deepEqual(request.shown.hostConfig, {
    Memory: 5,
    Mounts: [{ Type: "volume", Source: "data-3", ReadOnly: false }],
    PortBindings: { "53/udp": [{ HostIp: "", HostPort: "" }] },
  });
});

it("a task is on its service's networks, on ingress when a port is published there, else on the usual one", async () => {
  const networks = [{ network: "n1", aliases: ["www"], driverOptions: { k: "v" } }];
  const on = async (isOnIngress: boolean, of = networks) =>
    containerOf(newTask({ isOnIngress }, { networks: of }), node, await rows(ingress)).attachments.map(
      ({ network, aliases, driverOptions }) => [network, aliases, driverOptions],
    );
  assert.deepEqual(await on(true), [
    ["n1", ["www"], { k: "v" }],
    ["in", [], {}],
  ]);
  assert.deepEqual(await on(true, []), [["in", [], {}]]);
  assert.deepEqual(await on(false, []), [["bridge", [], {}]]);
});

it("volumes get their words too; a word that there is not is said", async () => {
  const volumes = [{ name: "v{{.Task.Slot}}", labels: { l: "{{.Node.ID}}" } }];
  const task = newTask({ slot: 2, nodeId: "n1" }, { volumes });
  assert.deepEqual(volumesOf(task, node), [{ name: "v2", labels: { l: "n1" } }]);
  const container = { ...plainContainer, env: ["A={{.Nope}}"] };
  const empty = await rows();
  assert.throws(() => containerOf(newTask({}, { container }), node, empty), /\{\{\.Nope\}\} is not known/);
});
