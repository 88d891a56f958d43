import assert from "node:assert/strict";
import { it } from "node:test";
import type { KernelEvent } from "../../src/kernel/kernel.ts";
import { keyOf, type NamespaceName, type PlanObject, type TunnelObject, type VxlanLink } from "../../src/model/plan.ts";
import { creates, removes, type Wanted } from "./kernel-plans.ts";
import { assertHolds, change, create, host, listAll, type OpenKernel, refused, remove } from "./kernel-support.ts";
import { until } from "../support/until.ts";

const id = "0k3v9m2q7w1x5z8b4n6c0d2fg";
export const network: NamespaceName = `network:${id}`;
const sandbox: NamespaceName = "sandbox:5556";
const owner = network;
const flags = { isolated: false, hairpin: false, learning: false, proxyArp: true };
const namespace: PlanObject = { kind: "namespace", namespace: network };
const bridge: PlanObject = {
  kind: "link",
  type: "bridge",
  namespace: network,
  name: "br0",
  mac: "52:00:00:00:00:09",
  mtu: 1450,
};
const vxlan: VxlanLink = {
  kind: "link",
  type: "vxlan",
  namespace: network,
  // As a link of the host's: a name that is taken there must not matter.
  name: "vx0",
  mac: "52:00:00:00:00:0a",
  mtu: 1450,
  vni: 4097,
  udpPort: 4789,
  local: "192.0.2.1",
  port: { bridge: "br0", ...flags, suppressesNeighbours: true },
};
const cable: PlanObject = {
  kind: "link",
  type: "veth",
  namespace: network,
  name: "veth0",
  mac: "56:00:00:00:00:01",
  mtu: 1450,
  peer: { namespace: sandbox, name: "eth0", mac: "02:00:00:00:00:02" },
  port: { bridge: "br0", ...flags, isolated: true },
};
const remote = "02:00:00:00:00:03";
const everybody = "00:00:00:00:00:00";
const tunnel = (mac: string, destination: string, link = "vx0"): TunnelObject => ({
  kind: "tunnel",
  namespace: network,
  link,
  mac,
  destination,
});
const forwarding: PlanObject = { kind: "forwarding", namespace: network, link: "vx0", mac: remote };
const tunnels = [
  tunnel(remote, "192.0.2.2"),
  tunnel(everybody, "192.0.2.2"),
  tunnel(everybody, "192.0.2.3"),
  tunnel("01:00:5e:00:00:09", "192.0.2.2"),
  tunnel("01:00:5e:00:00:09", "192.0.2.3"),
];
const made = [namespace, bridge, vxlan];
const all: readonly PlanObject[] = [
  ...made,
  { kind: "namespace", namespace: sandbox },
  cable,
  { kind: "sysctl", namespace: network, key: "net.ipv6.conf.default.disable_ipv6", value: "1" },
  { kind: "address", namespace: network, link: "br0", address: "10.0.9.1/24" },
  { kind: "route", namespace: network, to: "10.0.8.0/24", link: "br0", via: "10.0.9.7" },
  { kind: "address", namespace: sandbox, link: "eth0", address: "10.0.9.2/24" },
  { kind: "neighbour", namespace: network, link: "br0", address: "10.0.9.3", mac: remote },
  { kind: "forwarding", namespace: network, link: "veth0", mac: "02:00:00:00:00:02" },
  forwarding,
  ...tunnels,
  { kind: "chain", namespace: network, family: "ip", name: "c", rules: ["drop"] },
];
const owned = (objects: readonly PlanObject[]): Wanted[] =>
  objects.map((object) => ({ object, owner: object.kind === "namespace" ? object.namespace : owner }));

/** What an overlay network has on each host: a namespace with a bridge and one end of a tunnel. */
export function describeTunnels(open: () => OpenKernel): void {
  it("lists an overlay network as planned", () => {
    const { kernel } = open();
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(owned(all)));
      assertHolds(kernel, owned(all));
    }
    assert.deepEqual(kernel.namespaces(), [network, sandbox]);
    assert.equal(kernel.link(network, "lo")?.up, true);
    assert.match(kernel.namespacePath(network), new RegExp(`/network-${id}$`));
    kernel.apply(removes(owned(all)));
    kernel.apply(removes(owned(all)));
    assertHolds(kernel, []);
    assert.deepEqual(kernel.namespaces(), []);
  });

  it("tells the namespaces of a network and of a sandbox apart", () => {
    const { kernel } = open();
    const other: PlanObject = { kind: "namespace", namespace: `sandbox:${id}` };
    kernel.apply(creates(owned([namespace, other])));
    assert.deepEqual(new Set(kernel.namespaces()), new Set([network, other.namespace]));
    kernel.apply([remove(other)]);
    assert.deepEqual(kernel.namespaces(), [network]);
  });

  for (const [what, one] of [
    ["with IPv6", { ...vxlan, local: "fd00::1" }],
    ["with everything left open", withoutMac({ ...vxlan, udpPort: 65_535, vni: 0xffffff })],
    ["in the host's own namespace", { ...vxlan, namespace: host, port: undefined }],
  ] as const)
    it(`makes a tunnel ${what}`, () => {
      const { kernel } = open();
      const wanted = owned([namespace, bridge, withoutUndefined(one)]);
      for (let twice = 0; twice < 2; twice += 1) {
        kernel.apply(creates(wanted));
        assertHolds(kernel, wanted);
      }
    });

  it("makes a tunnel although the host has a link of its name", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge("vx0", "192.0.2.9/24");
    kernel.apply(creates(owned(made)));
    assertHolds(kernel, owned(made));
    assert.equal(kernel.link(host, "vx0")?.type, "bridge");
  });

  for (const [what, other, keeps] of [
    [
      "its MAC, MTU and port in place",
      { mac: "52:00:00:00:00:0b", mtu: 1400, port: { bridge: "br0", ...flags, isolated: true } },
      true,
    ],
    ["its bridge in place", { port: undefined }, true],
    ["its VNI by making it anew", { vni: 4098 }, false],
    ["its UDP port by making it anew", { udpPort: 4790 }, false],
    ["its address by making it anew", { local: "192.0.2.7" }, false],
  ] as const)
    it(`changes of a tunnel ${what}`, () => {
      const { kernel } = open();
      kernel.apply(creates(owned([...made, ...tunnels])));
      const after = withoutUndefined({ ...vxlan, ...other });
      for (const [from, to] of [
        [vxlan, after],
        [after, vxlan],
      ] as const) {
        const kept = keeps || from === after ? kernel.list(network, "tunnel").map(({ object }) => object) : [];
        kernel.apply([change(to, from, owner)]);
        assertHolds(kernel, owned([namespace, bridge, to, ...kept]));
      }
      kernel.apply(creates(owned(tunnels)));
      assertHolds(kernel, owned([...made, ...tunnels]));
    });

  it("refuses what another link of the host has: the same VNI on the same UDP port", () => {
    const { kernel, foreignVxlan } = open();
    foreignVxlan("vx9", 4097, 4789);
    assert.throws(() => kernel.apply(creates(owned(made))), refused("EEXIST", 2));
    assert.throws(() => kernel.apply(creates(owned(made))), /VXLAN 4097 on UDP port 4789 of this host is taken/);
    assertHolds(kernel, owned([namespace, bridge]));
    kernel.apply(creates(owned([{ ...vxlan, udpPort: 4790 }])));
    assertHolds(kernel, owned([namespace, bridge, { ...vxlan, udpPort: 4790 }]));
  });

  it("refuses a tunnel without its namespace, and one without its bridge", () => {
    const { kernel } = open();
    assert.throws(() => kernel.apply(creates(owned([vxlan]))), refused("ENOENT", 0));
    assert.throws(() => kernel.apply(creates(owned([namespace, vxlan]))), refused("ENODEV", 1));
    assertHolds(kernel, owned([namespace]));
  });

  it("refuses an entry on what is no tunnel, and one of another address family", () => {
    const { kernel } = open();
    kernel.apply(creates(owned(made)));
    assert.throws(() => kernel.apply([create(tunnel(remote, "192.0.2.2", "br0"))]), refused("EOPNOTSUPP", 0));
    assert.throws(() => kernel.apply([create(tunnel(remote, "192.0.2.2", "vx8"))]), refused("ENODEV", 0));
    assert.throws(() => kernel.apply([create(tunnel(remote, "fd00::2"))]), refused("EAFNOSUPPORT", 0));
    assertHolds(kernel, owned(made));
  });

  it("sends a MAC to one host, and what has no entry to many", () => {
    const { kernel } = open();
    kernel.apply(creates(owned([...made, ...tunnels])));
    const moved = tunnel(remote, "192.0.2.3");
    kernel.apply([create(moved, owner)]);
    assertHolds(kernel, owned([...made, ...tunnels.slice(1), moved]));
    kernel.apply(tunnels.map(remove));
    assertHolds(kernel, owned([...made, moved]));
  });

  it("loses its entries with a tunnel, and its port with the bridge", () => {
    const { kernel, deleteLink } = open();
    kernel.apply(creates(owned([...made, forwarding, ...tunnels])));
    deleteLink("br0", network);
    const { port: _, ...alone } = vxlan;
    assertHolds(kernel, owned([namespace, alone, ...tunnels]));
    deleteLink("vx0", network);
    assertHolds(kernel, owned([namespace]));
  });

  it("takes everything away with the namespace, so that it can be made again", async () => {
    const { kernel } = open();
    kernel.apply(creates(owned(all)));
    kernel.apply([remove(namespace)]);
    await until(() => isMade(() => kernel.apply(creates(owned(all)))));
    assertHolds(kernel, owned(all));
  });

  it("tells what changes in a network's namespace, also in one that is made later", async () => {
    const { kernel, deleteTunnel } = open();
    const seen: KernelEvent[] = [];
    const told = (kind: string, name: string) =>
      seen.some((e) => e.kind === kind && e.kind !== "lost" && e.name === name && e.namespace === network);
    const end = kernel.events((event) => seen.push(event));
    kernel.apply(creates(owned([...made, forwarding, ...tunnels])));
    await until(() => told("link", "vx0") && told("tunnel", "vx0") && told("forwarding", "vx0"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    seen.length = 0;
    deleteTunnel(tunnels[1] as TunnelObject);
    await until(() => told("tunnel", "vx0"));
    assert.ok(!listAll(kernel).has(keyOf(tunnels[1] as TunnelObject)));
    // Of a new link's carrier the kernel tells when it gets to it.
    assert.deepEqual(new Set(seen.map(({ kind }) => kind)).difference(new Set(["link"])), new Set(["tunnel"]));
    end();
  });
}

function isMade(body: () => void): boolean {
  try {
    body();
    return true;
  } catch {
    return false;
  }
}

function withoutMac({ mac: _mac, mtu: _mtu, ...link }: VxlanLink): VxlanLink {
  return link;
}
function withoutUndefined(
  link: Omit<VxlanLink, "port"> & { readonly port?: VxlanLink["port"] | undefined },
): VxlanLink {
  const { port, ...rest } = link;
  return port === undefined ? rest : { ...rest, port };
}
