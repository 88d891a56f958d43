import assert from "node:assert/strict";
import { it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import type { NodeDescription } from "../model/cluster.ts";
import { type HostRoute, plainSpec } from "../model/network.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { Agent } from "./node/agent.ts";
import type { ControlClient } from "./calls/control-client.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { openIngress, openNetwork } from "./networks.ts";
import { mostRoutes, routesOfNodes, routesToTell } from "./routes.ts";
import { Sessions } from "./manager/sessions.ts";
import { clientOf, Worker } from "./manager/sessions-testing.ts";
import { description, newCluster, newNode } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./calls/wire.ts";

const route = (to: string, link = "eth0"): HostRoute => ({ to, link });
async function settled() {
  for (let n = 0; n < 20; n++) await turn();
}

it("a host tells the widest of its routes, each family's, and nothing that every host has", () => {
  const all = ["10.1.2.0/24", "fd00:1::/64", "10.1.0.0/16", "10.1.0.0/24", "127.0.0.0/8", "::1/128", "10.2.0.0/16"];
  assert.deepEqual(
    routesToTell(all.map((to) => route(to))).map(({ to }) => to),
    ["10.1.0.0/16", "10.2.0.0/16", "fd00:1::/64"],
  );
  assert.deepEqual(routesToTell([]), []);
});

it("of too many routes the private ones are told, and the wider ones", () => {
  const many = Array.from({ length: 1000 }, (_, n) => route(`1.${n >> 8}.${n & 255}.0/25`));
  const told = routesToTell([...many, route("192.168.7.0/30", "eth1"), route("1.200.0.0/16")]);
  assert.equal(told.length, mostRoutes);
  assert.deepEqual(told.slice(0, 2), [route("192.168.7.0/30", "eth1"), route("1.200.0.0/16")]);
});

it("routes on the wire are few, and canonical", () => {
  const read = (routes: HostRoute[]) =>
    descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, routes })));
  const some = [route("10.0.0.0/8"), route("fd00::/48", "")];
  assert.deepEqual(read(some).routes, some);
  assert.ok(!Object.hasOwn(read([]), "routes"));
  const bad = ["10.0.0.0", "010.0.0.0/8", "fd00:0::/48", "x/8", "10.0.0.0/33"].map((to) => [route(to)]);
  bad.push([route("10.0.0.0/8", "a\nb")], [route("10.0.0.0/8", "a".repeat(16))]);
  bad.push(Array.from({ length: mostRoutes + 1 }, () => route("10.0.0.0/8")));
  for (const routes of bad) assert.throws(() => read(routes), /routes are malformed/, JSON.stringify(routes[0]));
});

/** A manager without a host, and nodes. */
async function manager(...hostnames: string[]) {
  const store = createMemoryStore();
  const nodes = hostnames.map((hostname, at) => {
    const address = `192.0.2.${at + 1}`;
    return newNode({ hostname, addresses: { advertise: address, dataPath: address } });
  });
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const node of nodes) tx.insert("nodes", node);
  });
  const failed = (error: unknown) => {
    throw error;
  };
  const sessions = new Sessions({ store, self: "m", now: () => 0, after: () => () => {}, failed });
  const end = new AbortController();
  const running = sessions.run(end.signal);
  const stop = async () => {
    end.abort();
    await running;
    await store.close();
  };
  const ids = nodes.map(({ id }) => id);
  const routesOf = (id: string) => store.snapshot().get("nodes", id)?.routes;
  return { store, sessions, ids, routesOf, stop };
}

it("a node describes itself anew when that is another thing than before, by its last stream only", async () => {
  const { store, sessions, ids, routesOf, stop } = await manager("h1");
  const [id = ""] = ids;
  let routes = [route("10.7.0.0/16")];
  const said: string[] = [];
  const node = clientOf(sessions, id, "", "192.0.2.1");
  const session: typeof node.session = (up, options) => {
    const noted = async function* () {
      for await (const message of up as AsyncIterable<{ body: { case: string } }>) {
        said.push(message.body.case);
        yield message as never;
      }
    };
    return node.session(noted(), options);
  };
  const client = { use: (call: (calls: unknown) => unknown) => call({ node: { session } }) };
  const addresses = { advertise: "192.0.2.1", dataPath: "192.0.2.1" };
  const facts = {
    describe: (): NodeDescription => ({ ...description, addresses, routes }),
    endpoints: () => [],
    async *tasks() {},
  };
  const ignore = () => {};
  const events = {
    managers: ignore,
    standing: ignore,
    cluster: ignore,
    rows: async () => {},
    settled: async () => {},
    logsWanted: async () => {},
    connected: ignore,
  };
  const agent = new Agent(client as unknown as ControlClient, facts, { ...events, lost: async () => {} });
  agent.start();
  await settled();
  assert.deepEqual(routesOf(id), [route("10.7.0.0/16")]);
  agent.describe();
  await settled();
  assert.ok(!said.includes("description"), "nothing has changed");
  routes = [route("10.8.0.0/16", "eth1")];
  agent.describe();
  await settled();
  assert.equal(said.filter((one) => one === "description").length, 1);
  assert.deepEqual(routesOf(id), [route("10.8.0.0/16", "eth1")]);
  const own = store.snapshot().get("nodes", id)?.status;
  await store.update((tx) => {
    const row = tx.get("nodes", id);
    if (row !== undefined && own !== undefined) tx.put("nodes", { ...row, status: { ...own, session: "later" } });
  });
  routes = [];
  agent.describe();
  await settled();
  assert.deepEqual(routesOf(id), [route("10.8.0.0/16", "eth1")]);
  await agent.stop();
  await stop();
});

it("what a node has said goes when it registers without it, and when it leaves", async () => {
  const { sessions, ids, routesOf, stop } = await manager("h1");
  const [id = ""] = ids;
  const addresses = { advertise: "192.0.2.1", dataPath: "192.0.2.1" };
  const come = (routes: HostRoute[]) =>
    new Worker(clientOf(sessions, id, "", "192.0.2.1"), () => {}, { addresses, routes });
  const first = come([route("10.7.0.0/16")]);
  await settled();
  assert.equal(routesOf(id)?.length, 1);
  first.end();
  come([]);
  await settled();
  assert.equal(routesOf(id), undefined);
  const last = come([route("10.9.0.0/16")]);
  await settled();
  last.end();
  await sessions.leave(id);
  assert.equal(routesOf(id), undefined);
  await stop();
});

it("a network over a node's route is refused, naming the node and the link; a subnet that is chosen avoids it", async () => {
  const { store, ids, stop } = await manager("h1", "h2");
  const say = (at: number, routes: HostRoute[]) =>
    store.update((tx) => {
      const row = tx.get("nodes", ids[at] ?? "");
      if (row !== undefined) tx.put("nodes", { ...row, routes });
    });
  await say(0, [route("10.0.0.0/23")]);
  await say(1, [route("172.20.0.0/16", "tun0"), route("fd00:5::/48", ""), route("10.0.0.0/23", "eth9")]);
  const open = (name: string, subnet?: string) =>
    store.update((tx) => {
      const subnets = subnet === undefined ? [] : [{ subnet, auxiliary: {} }];
      const spec = { ...plainSpec, name, driver: "overlay", ipv6: subnet?.includes(":") === true };
      return openNetwork(tx, {
        spec: { ...spec, ipam: { ...plainSpec.ipam, subnets } },
        severalSubnets: false,
        others: routesOfNodes(tx),
        lenientCidr: false,
        createdAt: "",
      });
    });
  await assert.rejects(open("a", "172.20.9.0/24"), /overlaps with node h2's route 172\.20\.0\.0\/16 on tun0$/);
  await assert.rejects(open("a", "fd00:5:0:1::/64"), /overlaps with node h2's route fd00:5::\/48$/);
  await assert.rejects(open("a", "10.0.0.0/16"), /overlaps with node h[12]'s route 10\.0\.0\.0\/23 on eth[09]$/);
  assert.equal((await open("b")).result.pools[0]?.split("/").slice(1).join("/"), "10.0.2.0/24");
  await say(1, [route("10.0.0.0/8")]);
  await assert.rejects(
    open("c"),
    /no IPv4 block of 10\.0\.0\.0\/8 is free \(node h2's route 10\.0\.0\.0\/8 on eth0 covers/,
  );
  await store.update((tx) => openIngress(tx, 0));
  const ingress = store
    .snapshot()
    .list("networks")
    .find(({ spec }) => spec.ingress);
  assert.equal(ingress?.pools[0]?.split("/").slice(1).join("/"), "10.0.0.0/24", "it is needed at any price");
  await stop();
});
