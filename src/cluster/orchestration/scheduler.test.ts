import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClusterNode } from "../../model/cluster.ts";
import { type Network, plainSpec } from "../../model/network.ts";
import type { Task, TaskTemplate } from "../../model/service.ts";
import { Rows } from "../../store/rows.ts";
import { added, emptyLoad, type Room } from "./rooms.ts";
import { schedule } from "./scheduler.ts";
import { plainTemplate } from "../task-testing.ts";
import { newTask, readyNode } from "./testing.ts";

/** A node, and what runs there. */
const room = (id: string, wish: Partial<ClusterNode> = {}, tasks: readonly Partial<Task>[] = []): Room => {
  const there = tasks.map((task) =>
    newTask({ nodeId: id, status: { ...newTask().status, state: "running" }, ...task }),
  );
  return { node: readyNode(id, wish), load: there.reduce((load, task) => added(load, task), emptyLoad) };
};
const some = (count: number, wish: Partial<Task> = {}) =>
  Array.from({ length: count }, (_, n) => newTask({ id: `t${n + 1}`, slot: n + 1, ...wish }));
const placedBy = (wish: Partial<TaskTemplate["placement"]>): Partial<Task> => ({
  template: { ...plainTemplate, placement: { ...plainTemplate.placement, ...wish } },
});
const reserving = (nanoCpus: number, memory = 0): Partial<Task> => ({
  template: { ...plainTemplate, reservations: { nanoCpus, memory } },
});
const network = (id: string, ingress: boolean, change: Partial<Network>): ["networks", Network] => {
  const spec = { ...plainSpec, name: id, driver: "overlay", ingress };
  return ["networks", { id, scope: "cluster", spec, pools: [], predefined: false, createdAt: "", ...change }];
};
const rows = Rows.of(0, [
  network("open", false, {}),
  network("secret", false, { isEncrypted: true }),
  network("ingress", true, { isEncrypted: true }),
]);
type Call = Parameters<typeof schedule> extends [infer Tasks, unknown, ...infer Others] ? [Tasks, ...Others] : never;
const scheduled = (...[tasks, ...others]: Call) => schedule(tasks, rows, ...others);
/** How many tasks each node gets. */
function shares(...call: Call): Record<string, number> {
  const nodes = [...scheduled(...call).nodes.values()];
  return Object.fromEntries([...new Set(nodes)].toSorted().map((id) => [id, nodes.filter((one) => one === id).length]));
}
const reason = (...call: Call) => scheduled(...call).reason;
const other = { serviceId: "other" };

describe("where tasks go", () => {
  it("evenly over the nodes", () => {
    assert.deepEqual(shares(some(7), [room("n1"), room("n2"), room("n3")]), { n1: 3, n2: 2, n3: 2 });
  });
  it("where the service has the fewest, then where the fewest tasks are", () => {
    const rooms = [room("n1", {}, [{}, {}]), room("n2", {}, [other, other, other]), room("n3", {}, [other])];
    assert.deepEqual(shares(some(1), rooms), { n3: 1 });
    assert.deepEqual(shares(some(4), rooms), { n2: 2, n3: 2 });
  });
  it("not where the service has failed five times lately, unless it has nowhere else to go", () => {
    const failures = new Map([["n1", 5]]);
    assert.deepEqual(shares(some(4), [room("n1"), room("n2")], failures), { n2: 4 });
    assert.deepEqual(shares(some(4), [room("n1"), room("n2")], new Map([["n1", 4]])), { n1: 2, n2: 2 });
    assert.deepEqual(shares(some(2), [room("n1")], failures), { n1: 2 });
  });
  it("evenly over the values of a label, whatever the number of nodes, then over those of the next", () => {
    const at = (zone: string, rack: string) => ({ labels: { zone, rack } });
    const rooms = [
      room("a1", at("a", "1")),
      room("a2", at("a", "1")),
      room("a3", at("a", "2")),
      room("b1", at("b", "1")),
    ];
    const spread = ["node.labels.zone", "node.labels.rack"];
    assert.deepEqual(shares(some(8, placedBy({ spread })), rooms), { a1: 1, a2: 1, a3: 2, b1: 4 });
  });
  it("fills up the branch that is behind; when one is full, the others take the rest", () => {
    const rooms = [room("a1", { labels: { z: "a" } }, [{}, {}, {}]), room("b1", { labels: { z: "b" } })];
    assert.deepEqual(shares(some(3, placedBy({ spread: ["node.labels.z"] })), rooms), { b1: 3 });
    const full = { ...placedBy({ spread: ["node.labels.z"], maxPerNode: 4 }) };
    assert.deepEqual(shares(some(5, full), rooms), { a1: 1, b1: 4 });
  });
});

describe("where tasks can not go", () => {
  const down = { status: { state: "down", message: "", address: "" } } as const;
  it("nodes that are not at work, or not for new tasks", () => {
    const rooms = [room("n1", down), room("n2", { availability: "drain" }), room("n3", { availability: "pause" })];
    assert.equal(reason(some(1), rooms), "no suitable node (3 nodes not available for new tasks)");
    assert.deepEqual(shares(some(2), [...rooms, room("n4")]), { n4: 2 });
  });
  it("constraints", () => {
    const wish = placedBy({ constraints: ["node.labels.ssd==yes"] });
    const rooms = [room("n1"), room("n2"), room("n3")];
    assert.equal(reason(some(1, wish), rooms), "no suitable node (scheduling constraints not satisfied on 3 nodes)");
    assert.deepEqual(shares(some(1, wish), [...rooms, room("n4", { labels: { ssd: "yes" } })]), { n4: 1 });
  });
  it("platforms, by either name", () => {
    const arm = placedBy({ platforms: [{ os: "linux", architecture: "arm64" }] });
    assert.equal(reason(some(1, arm), [room("n1")]), "no suitable node (unsupported platform on 1 node)");
    assert.deepEqual(shares(some(1, arm), [room("n1", { platform: { os: "linux", architecture: "aarch64" } })]), {
      n1: 1,
    });
    const any = placedBy({ platforms: [{ os: "", architecture: "amd64" }] });
    assert.deepEqual(shares(some(1, any), [room("n1")]), { n1: 1 });
  });
  it("what is reserved is counted until a task has ended; the rest waits", () => {
    const resources = { nanoCpus: 2e9, memoryBytes: 1000 };
    const rooms = [room("n1", { resources }, [reserving(5e8)]), room("n2", { resources })];
    assert.deepEqual(shares(some(5, reserving(1e9)), rooms), { n1: 1, n2: 2 });
    assert.equal(reason(some(5, reserving(1e9)), rooms), "no suitable node (insufficient resources on 2 nodes)");
    const told = { ...reserving(15e8), desired: "shutdown" } as const;
    const isGoing = room("n3", { resources }, [told]);
    assert.equal(isGoing.load.tasks, 0);
    assert.equal(reason(some(1, reserving(1e9)), [isGoing]), "no suitable node (insufficient resources on 1 node)");
    const ended = room("n3", { resources }, [{ ...told, status: { ...newTask().status, state: "shutdown" } }]);
    assert.deepEqual(shares(some(1, reserving(1e9, 1000)), [ended]), { n3: 1 });
  });
  it("nodes with fewer CPUs than the limit says", () => {
    const rooms = [room("n1"), room("n2", { resources: { nanoCpus: 8e9, memoryBytes: 1000 } })];
    const limited = (nanoCpus: number): Partial<Task> => ({
      template: { ...plainTemplate, container: { ...plainTemplate.container, nanoCpus } },
    });
    assert.deepEqual(shares(some(4, limited(2e9)), rooms), { n1: 2, n2: 2 });
    assert.deepEqual(shares(some(4, limited(3e9)), rooms), { n2: 4 });
    const why = "no suitable node (fewer CPUs than the limit on 2 nodes)";
    assert.equal(reason(some(1, limited(1000e9)), rooms), why);
  });
  it("ports of the host, one task a node; on two addresses, two", () => {
    const port = { name: "", protocol: "tcp", target: 80, published: 8080, mode: "host" } as const;
    const rooms = [room("n1", {}, [{ ...other, hostPorts: [port] }]), room("n2"), room("n3")];
    const wish = some(3, { hostPorts: [port] });
    assert.deepEqual(shares(wish, rooms), { n2: 1, n3: 1 });
    assert.equal(reason(wish, rooms), "no suitable node (host-mode port already in use on 3 nodes)");
    assert.deepEqual(
      shares(some(2, { hostPorts: [{ ...port, published: 0 }] }), [room("n1", {}, [{ hostPorts: [port] }])]),
      { n1: 2 },
    );
    const on = (address: string) => [{ ...port, address }];
    const one = [room("n1", {}, [{ hostPorts: on("10.0.0.1") }])];
    assert.deepEqual(shares(some(1, { hostPorts: on("10.0.0.2") }), one), { n1: 1 });
    for (const hostPorts of [on("10.0.0.1"), [port]]) assert.deepEqual(shares(some(1, { hostPorts }), one), {});
  });
  it("ports that containers of a node have published", () => {
    const takenPorts = [{ protocol: "tcp", address: "0.0.0.0", port: 8080, container: "c" }];
    const port = { name: "", protocol: "tcp", target: 80, published: 8080, mode: "host" } as const;
    const rooms = [room("n1", { takenPorts }), room("n2")];
    assert.deepEqual(shares(some(2, { hostPorts: [port] }), rooms), { n2: 1 });
    assert.equal(
      reason(some(1, { hostPorts: [port] }), [room("n1", { takenPorts })]),
      "no suitable node (host-mode port already in use on 1 node)",
    );
    assert.deepEqual(shares(some(2, { hostPorts: [{ ...port, protocol: "udp" }] }), rooms), { n1: 1, n2: 1 });
  });
  it("nodes that cannot encrypt, with a network that is encrypted", () => {
    const wireguard = (by: "kernel" | "none") => ({ wireguard: { by, keys: [], sends: 0 } });
    const rooms = [room("n1", wireguard("none")), room("n2", wireguard("kernel")), room("n3")];
    const on = (network: string): Partial<Task> => ({
      template: { ...plainTemplate, networks: [{ network, aliases: [], driverOptions: {} }] },
    });
    assert.deepEqual(shares(some(3, on("open")), rooms), { n1: 1, n2: 1, n3: 1 });
    for (const wish of [on("secret"), { isOnIngress: true }]) {
      assert.deepEqual(shares(some(3, wish), rooms), { n2: 3 });
      assert.equal(
        reason(some(1, wish), [room("n1", wireguard("none")), room("n3")]),
        "no suitable node (encrypted networks are not possible on 2 nodes: docker network inspect says why)",
      );
    }
  });
  it("not more than so many on a node", () => {
    const wish = some(5, placedBy({ maxPerNode: 2 }));
    assert.deepEqual(shares(wish, [room("n1"), room("n2", {}, [{}])]), { n1: 2, n2: 1 });
    assert.match(reason(wish, [room("n1"), room("n2")]), /^no suitable node \(max replicas per node limit exceed\)$/);
  });
  it("says all reasons, what most nodes fail first", () => {
    const wish = placedBy({ constraints: ["node.labels.ssd==yes"] });
    const rooms = [room("n1", down), room("n2"), room("n3"), room("n4", { availability: "drain" }), room("n5")];
    assert.equal(
      reason(some(1, wish), rooms),
      "no suitable node (scheduling constraints not satisfied on 3 nodes; 2 nodes not available for new tasks)",
    );
  });
  it("without a node there is nothing to say", () => assert.equal(reason(some(1), []), "no suitable node"));
});

it("a thousand tasks on a thousand nodes are one each", () => {
  const rooms = Array.from({ length: 1000 }, (_, n) => room(`n${n}`));
  assert.equal(new Set(scheduled(some(1000), rooms).nodes.values()).size, 1000);
});
