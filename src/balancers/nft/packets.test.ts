import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  addressOf,
  backendChange,
  containerChanges,
  entryChanges,
  entryMember,
  entryOutside,
  gateway,
  hostAddress,
  hostChanges,
  peerChange,
  portOf,
  virtualChange,
  virtualMember,
} from "../../../test/support/mesh-rows.ts";
import type { RowChange } from "../../../test/support/mesh-host.ts";
import { idOf } from "../../../test/support/rows.ts";
import { type Connection, type Packet, Tracer } from "../../../test/support/tracer.ts";
import { baseText } from "../../dataplane/base.ts";
import { allOwners, planOf } from "../../dataplane/views.ts";
import { drivers } from "../../drivers/index.ts";
import type { NamespaceName } from "../../model/plan.ts";
import { ingressSandbox } from "../../model/sandbox.ts";
import type { VirtualService } from "../../model/service.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { TableName, Tables } from "../../store/tables.ts";
import { defaultBalancer } from "../index.ts";

const planners = { driverFor: (name: string) => drivers[name], balancer: defaultBalancer };
const outside = "198.51.100.1";
const entry: NamespaceName = `sandbox:${ingressSandbox}`;
const sandbox = (member: number): NamespaceName => `sandbox:${idOf("5", member)}`;

/** The rules of a host with these rows. */
async function hostWith(host: number, ...changes: readonly (RowChange | readonly RowChange[])[]): Promise<Tracer> {
  const store = createMemoryStore();
  await store.update((tx) => {
    for (const [table, row] of [...hostChanges(host), ...(changes.flat(1) as RowChange[])])
      tx.put(table, row as Tables[TableName]);
  });
  const rows = store.snapshot();
  const objects = allOwners(rows, planners.driverFor).flatMap((owner) =>
    planOf(rows, owner, planners, { host: {}, networks: {} }),
  );
  const isLocal = (namespace: NamespaceName, address: string) =>
    (namespace === "host" && [hostAddress(host), hostAddress(host, true), "127.0.0.1"].includes(address)) ||
    objects.some((o) => o.kind === "address" && o.namespace === namespace && o.address.startsWith(`${address}/`));
  let seed = 1;
  return new Tracer(baseText, objects, isLocal, () => (seed = (seed * 16807) % 2147483647) / 2147483647);
}

const begin = (): Connection => ({ state: "new", direction: "original", isTranslated: false, mark: 0 });
const packet = (wish: Partial<Packet> & Pick<Packet, "source" | "destination">): Packet => ({
  family: wish.destination.includes(":") ? "ip6" : "ip",
  protocol: "tcp",
  port: 80,
  iif: "",
  oif: "",
  from: "",
  to: "",
  mark: 0,
  connection: begin(),
  ...wish,
});

/** Where the connections of a container to a virtual address end. */
function askVirtual(host: Tracer, count: number, more: { readonly client?: number; readonly six?: boolean } = {}) {
  const { client = 21, six = false } = more;
  const counts = new Map<string, number>();
  for (let n = 0; n < count; n += 1) {
    const asked = packet({
      source: addressOf("shop", client, six),
      destination: addressOf("shop", virtualMember + 1, six),
    });
    const verdict = host.at(sandbox(client), "output", asked);
    assert.equal(asked.source, addressOf("shop", client, six), "the source is kept");
    const end = verdict === "accept" ? asked.destination : verdict;
    counts.set(end, (counts.get(end) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}

/** A container on host 1 that asks, and the tasks of service 1: the first so many are on host 1 as well. */
const shop = (tasks: number, here: number, more: Partial<VirtualService> = {}): RowChange[] => [
  virtualChange(1, "shop", more),
  ...containerChanges(1, 21, ["shop"]),
  ...Array.from({ length: tasks }, (_, i) => 30 + i).flatMap((member, i): RowChange[] => [
    ...(i < here ? containerChanges(1, member, ["shop"]) : [peerChange(2, member, "shop")]),
    backendChange(1, member, i < here ? 1 : 2, "shop"),
  ]),
];

describe("from a container to a virtual address", () => {
  for (const tasks of [1, 2, 5, 16, 17, 40])
    for (const six of [false, true])
      it(`${tasks} tasks get the same share${six ? " over IPv6" : ""}, and see the client`, async () => {
        const counts = askVirtual(await hostWith(1, shop(tasks, 1)), tasks * 100, { six });
        const expected = Array.from({ length: tasks }, (_, i) => addressOf("shop", 30 + i, six));
        assert.deepEqual(Object.keys(counts).toSorted(), expected.toSorted());
        for (const count of Object.values(counts)) assert.ok(Math.abs(count - 100) <= 2, JSON.stringify(counts));
      });

  it("a service without a task refuses at once", async () => {
    assert.deepEqual(askVirtual(await hostWith(1, shop(0, 0)), 1), { reset: 1 });
    const host = await hostWith(1, shop(0, 0));
    const datagram = packet({
      source: addressOf("shop", 21),
      destination: addressOf("shop", virtualMember + 1),
      protocol: "udp",
    });
    assert.equal(host.at(sandbox(21), "output", datagram), "reject");
  });

  it("a task whose endpoint is not known gets nothing", async () => {
    const rows = [...shop(2, 0), backendChange(1, 77, 3, "shop")];
    assert.equal(Object.keys(askVirtual(await hostWith(1, rows), 20)).length, 2);
  });

  it("another destination stays as it is", async () => {
    const asked = packet({ source: addressOf("shop", 21), destination: addressOf("shop", 30) });
    assert.equal((await hostWith(1, shop(2, 0))).at(sandbox(21), "output", asked), "accept");
    assert.equal(asked.destination, addressOf("shop", 30));
  });

  it("tasks of the own host come first where the service says so, while there are any", async () => {
    const local = { balance: { by: "rr", local: true } } as const;
    const here = [30, 31].map((member) => addressOf("shop", member));
    assert.deepEqual(Object.keys(askVirtual(await hostWith(1, shop(5, 2, local)), 50)).toSorted(), here);
    assert.equal(Object.keys(askVirtual(await hostWith(1, shop(5, 0, local)), 50)).length, 5);
  });

  it("by source a client stays with its task; by chance all have some", async () => {
    const by = async (way: "source" | "random") =>
      Object.keys(askVirtual(await hostWith(1, shop(5, 0, { balance: { by: way, local: false } })), 200)).length;
    assert.deepEqual([await by("source"), await by("random")], [1, 5]);
  });

  it("an idle connection is forgotten when the service says", async () => {
    const host = await hostWith(1, shop(2, 0, { idle: 900_000 }), [virtualChange(2, "shop")]);
    const [asked, other] = [1, 2].map((service) =>
      packet({ source: addressOf("shop", 21), destination: addressOf("shop", virtualMember + service) }),
    );
    for (const one of [asked, other]) if (one !== undefined) host.at(sandbox(21), "output", one);
    assert.match(asked?.connection.idle ?? "", /^idle_900_/);
    assert.equal(asked?.connection.isTranslated, true, "and goes on");
    assert.equal(other?.connection.idle, undefined);
  });

  it("who asks two services by turns gets all tasks of both", async () => {
    const second = [40, 41].flatMap((member): RowChange[] => [
      peerChange(2, member, "shop"),
      backendChange(2, member, 2, "shop"),
    ]);
    const host = await hostWith(1, shop(2, 0), [virtualChange(2, "shop"), ...second]);
    const counts: Record<string, number> = {};
    for (let n = 0; n < 2000; n += 1) {
      const asked = packet({
        source: addressOf("shop", 21),
        destination: addressOf("shop", virtualMember + 1 + (n % 2)),
      });
      host.at(sandbox(21), "output", asked);
      counts[asked.destination] = (counts[asked.destination] ?? 0) + 1;
    }
    assert.equal(Object.keys(counts).length, 4);
    for (const count of Object.values(counts)) assert.ok(count > 400, JSON.stringify(counts));
  });

  it("clients begin with different tasks", async () => {
    const clients = Array.from({ length: 20 }, (_, i) => 50 + i);
    const host = await hostWith(1, shop(4, 0), ...clients.map((member) => containerChanges(1, member, ["shop"])));
    const first = clients.flatMap((client) => Object.keys(askVirtual(host, 1, { client })));
    assert.equal(new Set(first).size, 4);
  });
});

describe("from outside to a published port", () => {
  const ports = [portOf(8080, 80), portOf(5353, 53, "udp")];
  /** Host 1, where no task is; they are on host 2, as member 12, and on host 3, as 13. */
  const rows = (more: Partial<VirtualService> = {}): RowChange[] => [
    virtualChange(1, "ingress", { ports, ...more }),
    ...entryChanges(1),
    ...[12, 13].flatMap((member): RowChange[] => [
      peerChange(member - 10, member, "ingress"),
      backendChange(1, member, member - 10, "ingress"),
    ]),
  ];
  /** Through host 1. @returns the packet as it leaves the ingress sandbox */
  function through(host: Tracer, asked: Packet): Packet {
    assert.equal(host.at("host", "prerouting", asked), "accept");
    const out = addressOfGateway(entryOutside, asked.family === "ip6");
    assert.equal(asked.destination, out, "it is led to the ingress sandbox");
    asked.oif = bridge;
    assert.equal(host.at("host", "forward", asked), "accept");
    // The sandbox has a connection tracking of its own.
    const inside: Packet = { ...asked, iif: "eth1", oif: "eth0", connection: begin() };
    assert.equal(host.at(entry, "prerouting", inside), "accept");
    assert.equal(host.at(entry, "forward", inside), "accept");
    assert.equal(host.at(entry, "postrouting", inside), "accept");
    return inside;
  }
  const addressOfGateway = (member: number, six: boolean) => (six ? `fd00:18::${member}` : `10.18.0.${member}`);
  const bridge = `br-${gateway.network.id.slice(0, 12)}`;

  for (const six of [false, true])
    it(`tasks see the client, at the port they have${six ? ", over IPv6" : ""}`, async () => {
      const host = await hostWith(1, rows());
      const source = six ? "2001:db8:ffff::1" : outside;
      const ends = new Set<string>();
      for (let n = 0; n < 20; n += 1) {
        const left = through(host, packet({ source, destination: hostAddress(1, six), port: 8080, iif: "uplink" }));
        assert.equal(left.source, source);
        ends.add(`${left.destination} ${left.port}`);
      }
      assert.deepEqual(
        [...ends].toSorted(),
        [12, 13].map((member) => `${addressOf("ingress", member, six)} 80`),
      );
    });

  it("a datagram goes where a service has published its port for datagrams", async () => {
    const asked = packet({ source: outside, destination: hostAddress(1), protocol: "udp", port: 5353, iif: "uplink" });
    const left = through(await hostWith(1, rows()), asked);
    assert.deepEqual([left.source, left.port], [outside, 53]);
  });

  it("tasks see the ingress sandbox where the service asks for that, and for who is known on that host alone", async () => {
    const hiding = await hostWith(1, rows({ keepsClient: false }));
    const asked = () => packet({ source: outside, destination: hostAddress(1), port: 8080, iif: "uplink" });
    assert.equal(through(hiding, asked()).source, "masqueraded on eth0");
    // A container's own address was written over on the host.
    const container = packet({ source: "10.18.0.1", destination: "10.18.0.2", port: 8080, iif: "eth1", oif: "eth0" });
    const host = await hostWith(1, rows());
    for (const hook of ["prerouting", "postrouting"]) host.at(entry, hook, container);
    assert.equal(container.source, "masqueraded on eth0");
  });

  it("a port that a container of the host publishes leads there", async () => {
    const claim = { protocol: "tcp", hostIp: "0.0.0.0", hostPort: 8080, endpointId: "e" };
    const host = await hostWith(1, rows(), [["ports", claim]]);
    const asked = packet({ source: outside, destination: hostAddress(1), port: 8080, iif: "uplink" });
    host.at("host", "prerouting", asked);
    assert.equal(asked.destination, hostAddress(1));
  });

  it("a port of one address of the host is published there alone", async () => {
    const bound = [portOf(8080, 80, "tcp", { address: hostAddress(1) })];
    const host = await hostWith(1, rows({ ports: bound }));
    const asked = packet({ source: outside, destination: "127.0.0.1", port: 8080 });
    host.at("host", "output", asked);
    assert.equal(asked.destination, "127.0.0.1");
    through(host, packet({ source: outside, destination: hostAddress(1), port: 8080, iif: "uplink" }));
  });

  it("without a task it is refused, and the ingress sandbox passes on nothing else", async () => {
    const host = await hostWith(1, [virtualChange(1, "ingress", { ports }), ...entryChanges(1)]);
    const asked = packet({ source: outside, destination: "10.18.0.2", port: 8080, iif: "eth1" });
    assert.equal(host.at(entry, "prerouting", asked), "reset");
    const strange = packet({ source: addressOf("ingress", 12), destination: outside, iif: "eth0", oif: "eth1" });
    assert.equal(host.at(entry, "prerouting", strange), "accept");
    assert.equal(host.at(entry, "forward", strange), "drop");
  });
});

describe("from a task back to the host where it was asked", () => {
  const mac = (host: number) => `02:54:54:00:00:0${host}`;
  const task = 12;
  const leg = { iif: "eth0", oif: "", to: "02:42:ac:01:00:0c" };
  const nobody = "02:54:54:00:00:00";
  /** A request that comes in at the task, and what Linux would answer it with. */
  function answered(host: Tracer, asked: Packet): Packet {
    assert.equal(host.at(sandbox(task), "ingress", asked, "netdev"), "accept");
    assert.equal(host.at(sandbox(task), "prerouting", asked), "accept");
    const connection: Connection = { ...asked.connection, state: "established", direction: "reply" };
    const { source, destination } = asked;
    const answer: Packet = {
      ...asked,
      source: destination,
      destination: source,
      iif: "",
      oif: "eth0",
      to: nobody,
      connection,
    };
    assert.equal(host.at(sandbox(task), "output", answer), "accept");
    assert.equal(host.at(sandbox(task), "egress", answer, "netdev"), "accept");
    return answer;
  }
  const rows: RowChange[] = [
    ...containerChanges(2, task, ["ingress"]),
    ...[1, 3].map((host) => peerChange(host, entryMember(host), "ingress")),
  ];
  const asks = (host: number, more: Partial<Packet> = {}) =>
    packet({ source: outside, destination: addressOf("ingress", task), from: mac(host), ...leg, ...more });

  it("goes to the ingress sandbox that the request came from", async () => {
    const host = await hostWith(2, rows);
    const [first, second] = [answered(host, asks(1)), answered(host, asks(3))];
    assert.deepEqual([first.to, second.to], [mac(1), mac(3)]);
    assert.deepEqual([first.connection.zone, second.connection.zone], [1, 3], "two connections, from whichever port");
    assert.equal(first.source, addressOf("ingress", task));
  });

  it("has for datagrams the address that an answer from all addresses has", async () => {
    const asked = asks(1, { protocol: "udp" });
    const answer = answered(await hostWith(2, rows), asked);
    assert.deepEqual([answer.source, answer.to], ["10.18.0.12", mac(1)]);
    const near = asks(1, { protocol: "udp", source: addressOf("ingress", entryMember(1)) });
    assert.equal(answered(await hostWith(2, rows), near).source, addressOf("ingress", task));
  });

  it("of other connections is nobody's business", async () => {
    const host = await hostWith(2, rows);
    const other = answered(host, asks(1, { from: "02:42:00:00:00:07" }));
    assert.deepEqual([other.to, other.mark, other.connection.mark], [nobody, 0, 0]);
    const marked = packet({
      source: "10.2.0.12",
      destination: outside,
      oif: "eth0",
      mark: 0x99,
      to: "02:00:00:00:00:09",
    });
    host.at(sandbox(task), "egress", marked, "netdev");
    assert.equal(marked.to, "02:00:00:00:00:09");
  });
});
