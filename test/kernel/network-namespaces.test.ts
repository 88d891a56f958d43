import assert from "node:assert/strict";
import { it } from "node:test";
import type { DriverFor } from "../../src/dataplane/views.ts";
import type { NetworkDriver } from "../../src/drivers/driver.ts";
import { calls } from "../../src/kernel/libc.ts";
import { keyOf, type NamespaceName, type PlanObject } from "../../src/model/plan.ts";
import { RealHost } from "../support/real-host.ts";
import { deleteContainer, deleteNetwork, endpointRow, networkRows, putContainer, putNetwork } from "../support/rows.ts";
import { floodTo, type Member, memberObjects, networkObjects, peerObjects } from "../support/tunnel-plan.ts";

const rows = networkRows({ number: 8 });
const namespace: NamespaceName = `network:${rows.network.id}`;
const here = "192.0.2.1";
const there = "192.0.2.7";
const peers: readonly Member[] = [
  { number: 5, at: there },
  { number: 6, at: there },
];
const mtu = 1450;

/** A network in a namespace of its own, with a tunnel to another host, where two more containers are. */
const driver: NetworkDriver = {
  name: "tunnelled",
  scope: "local",
  hasPools: true,
  severalSubnets: false,
  readOptions: () => ({}),
  planNetwork: () => [
    ...networkObjects(namespace, here, mtu),
    { kind: "sysctl", namespace, key: "net.ipv4.conf.br0.forwarding", value: "0" },
    floodTo(namespace, there),
    ...peers.flatMap((peer) => peerObjects(namespace, peer)),
  ],
  planEndpoint: ({ sandbox }) => {
    const number = Number.parseInt(sandbox.id.slice(1, 10), 16);
    return memberObjects(namespace, { number, at: here }, mtu).map((object) =>
      inSandbox(object, `sandbox:${sandbox.id}`),
    );
  },
};
const driverFor: DriverFor = () => driver;

function inSandbox(object: PlanObject, sandbox: NamespaceName): PlanObject {
  if (object.kind === "link" && object.type === "veth")
    return { ...object, peer: { ...object.peer, namespace: sandbox } };
  return object.namespace.startsWith("sandbox:") ? ({ ...object, namespace: sandbox } as PlanObject) : object;
}

async function populated(): Promise<RealHost> {
  const host = await RealHost.open(driverFor);
  await host.commit((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2 });
    putContainer(tx, rows, { member: 3 });
  });
  await host.assertClean();
  return host;
}
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** In the network's namespace. */
const inside = (host: RealHost, command: string) =>
  host.run("host", "nsenter", `--net=${host.kernel.namespacePath(namespace)}`, ...command.split(" "));

it("connects containers of one host, and does nothing at all after a restart", async () => {
  await using host = await populated();
  assert.ok(await host.pings(2, "10.8.0.3"));
  assert.ok(await host.pings(2, "fd00:8::3"));
  await host.restart();
  assert.deepEqual(host.steps, []);
  await host.assertClean();
});

/** In groups: who changes more than ten things in ten seconds is put right more slowly. */
const disturbances: Readonly<Record<string, readonly string[]>> = {
  "a tunnel": [
    "ip link del vxlan0",
    "ip link set vxlan0 down",
    "ip link set vxlan0 nomaster",
    "ip link set vxlan0 mtu 1400",
    "ip link set vxlan0 type vxlan learning",
    "ip link set vxlan0 name vxlan9",
    "bridge link set dev vxlan0 learning on",
  ],
  "what stands on a tunnel": [
    "bridge fdb del 02:42:00:00:00:05 dev vxlan0 dst 192.0.2.7",
    "bridge fdb del 00:00:00:00:00:00 dev vxlan0 dst 192.0.2.7",
    "bridge fdb replace 02:42:00:00:00:05 dev vxlan0 dst 192.0.2.8",
    "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst 192.0.2.8",
    "bridge fdb del 02:42:00:00:00:05 dev vxlan0 master",
    "bridge fdb del 02:42:00:00:00:05 dev vxlan0 self",
  ],
  "the rest": [
    "ip link del br0",
    "ip link del veth2",
    "ip neigh flush dev br0 nud permanent",
    "sysctl -qw net.ipv4.conf.br0.forwarding=1",
  ],
};

for (const [what, commands] of Object.entries(disturbances))
  it(`puts right within a second what others change in a network's namespace: ${what}`, async (t) => {
    await using host = await populated();
    for (const command of commands) {
      // Else it comes in the shadow of our own repair.
      await pause(250);
      inside(host, command);
      assert.notDeepEqual(await host.audit(), [], command);
      t.diagnostic(`${command}: ${Math.round(await host.repaired(command))} ms`);
    }
    assert.ok(await host.pings(2, "10.8.0.3"));
  });

it("sees that the namespace itself is gone as soon as the kernel refuses something, and makes all anew", async () => {
  await using host = await populated();
  calls.umount2(host.kernel.namespacePath(namespace), 2);
  assert.notDeepEqual(await host.audit(), []);
  await host.store.update((tx) => putContainer(tx, rows, { member: 4 }));
  await host.repaired("the namespace went");
  assert.ok(await host.pings(2, "10.8.0.4"));
});

it("sweeps a namespace whose network is gone, with everything in it", async () => {
  await using host = await populated();
  await host.restart((tx) => {
    for (const endpoint of tx.list("endpoints")) deleteContainer(tx, endpoint);
    deleteNetwork(tx, rows);
  });
  await host.assertClean();
  assert.deepEqual(host.kernel.namespaces(), []);
  // The VNI is free at once.
  host.run("host", "ip", ..."link add vx9 type vxlan id 4097 local 192.0.2.1 dstport 4789".split(" "));
});

it("sees what is left over inside, and takes it away", async () => {
  await using host = await populated();
  const left: PlanObject[] = [
    { kind: "link", type: "bridge", namespace, name: "br1", mac: "52:00:00:00:00:99" },
    { kind: "address", namespace, link: "br1", address: "10.9.0.1/24" },
    { kind: "tunnel", namespace, link: "vxlan0", mac: "02:42:00:00:00:99", destination: there },
  ];
  host.kernel.apply(left.map((object) => ({ verb: "create", object, owner: `network:gone` })));
  const found = await host.audit();
  assert.ok(found.every(({ what }) => what === "left over"));
  const inOrder = (objects: readonly PlanObject[]) => objects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  assert.deepEqual(inOrder(found.map(({ object }) => object)), inOrder(left));
  await host.restart();
  await host.assertClean();
});

it("gives back a container's place, and takes another", async () => {
  await using host = await populated();
  await host.commit((tx) => {
    deleteContainer(tx, endpointRow(rows, { member: 3 }));
    putContainer(tx, rows, { member: 4 });
  });
  await host.assertClean();
  assert.ok(await host.pings(4, "10.8.0.2"));
  assert.doesNotMatch(inside(host, "ip -o link show"), /veth3/);
});
