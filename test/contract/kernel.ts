import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { baseText } from "../../src/dataplane/base.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import type { NamespaceName, PlanObject } from "../../src/model/plan.ts";
import { describeChildren } from "./kernel-children.ts";
import { describeDisturbance, describeRest } from "./kernel-disturbed.ts";
import {
  creates,
  endpointPlan,
  idOf,
  networkPlan,
  type NetworkWish,
  ports,
  removes,
  type Wanted,
} from "./kernel-plans.ts";
import { describeLeaves } from "./kernel-leaves.ts";
import { describeRouting } from "./kernel-routing.ts";
import { describeTunnels } from "./kernel-tunnels.ts";
import { describeWireguard } from "./kernel-wireguard.ts";
import {
  assertHolds,
  bridge,
  chain,
  change,
  create,
  host,
  listAll,
  type OpenKernel,
  port,
  refused,
  remove,
} from "./kernel-support.ts";

const cases: readonly (readonly [string, NetworkWish])[] = [
  ["plain", { number: 1 }],
  [
    "dual stack, without traffic between containers",
    { number: 2, ipv6: true, options: { "com.docker.network.bridge.enable_icc": "false" } },
  ],
  ["internal, dual stack", { number: 3, ipv6: true, internal: true }],
  [
    "with an MTU that is the default, a source address and a trusted link",
    {
      number: 4,
      options: {
        "com.docker.network.driver.mtu": "1500",
        "com.docker.network.host_ipv4": "192.0.2.7",
        "com.docker.network.bridge.trusted_host_interfaces": "lan0:wan0",
      },
    },
  ],
  [
    "routed, dual stack, with a small MTU",
    {
      number: 5,
      ipv6: true,
      options: {
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.gateway_mode_ipv4": "routed",
        "com.docker.network.bridge.gateway_mode_ipv6": "routed",
      },
    },
  ],
  [
    "open, without masquerading",
    {
      number: 6,
      options: {
        "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
      },
    },
  ],
];

/** What every kernel does. Each test gets its own. */
export function kernelContract(name: string, open: () => OpenKernel): void {
  describe(name, () => {
    let opened: OpenKernel;
    let kernel: Kernel;
    beforeEach(() => {
      opened = open();
      kernel = opened.kernel;
      kernel.ensureBase(baseText);
    });
    afterEach(() => opened.close());
    describePlans(() => kernel);
    describeSteps(() => kernel);
    describeLinks(() => opened);
    describeChildren(() => opened);
    describeTunnels(() => opened);
    describeWireguard(() => opened);
    describeLeaves(() => opened);
    describeRouting(() => opened);
    describeDisturbance(() => opened);
    describeRest(() => opened);
  });
}

function describePlans(open: () => Kernel): void {
  it("lists nothing but what was made", () => assert.deepEqual([...listAll(open())], []));

  for (const [title, wish] of cases)
    it(`lists a bridge network as planned: ${title}`, () => {
      const kernel = open();
      const wanted = [...networkPlan(wish), ...endpointPlan(wish, 2, ports), ...endpointPlan(wish, 3)];
      kernel.apply(creates(wanted));
      assertHolds(kernel, wanted);
      kernel.apply(creates(wanted));
      assertHolds(kernel, wanted);
    });

  it("removes everything, and removes what is gone", () => {
    const kernel = open();
    const wish = { number: 2, ipv6: true };
    const wanted = [...networkPlan(wish), ...endpointPlan(wish, 2, ports)];
    kernel.apply(creates(wanted));
    kernel.apply(removes(wanted));
    assertHolds(kernel, []);
    kernel.apply(removes(wanted));
    assertHolds(kernel, []);
  });

  it("gives the default route to another endpoint, in any order", () => {
    const kernel = open();
    const [first, second] = [1, 2].map((number) =>
      endpointPlan({ number, ipv6: true }, 2).map(({ object }) => object),
    ) as [PlanObject[], PlanObject[]];
    const namespace = first[0]?.namespace ?? host;
    const moved = second.map((o) => moveTo(o, namespace));
    const wanted = [1, 2].flatMap((number) => networkPlan({ number, ipv6: true }));
    kernel.apply([...creates(wanted), ...[...first, ...moved].map((object) => create(object, "endpoint:e"))]);
    kernel.apply(first.flatMap((object) => (object.kind === "route" ? [remove(object)] : [])));
    const left = kernel.list(namespace, "route").map((found) => found.object);
    assert.deepEqual(
      left,
      moved.filter((o) => o.kind === "route"),
    );
  });
}

/** An object of an endpoint, as if its interface were `eth1` of another sandbox. */
function moveTo(object: PlanObject, namespace: NamespaceName): PlanObject {
  if (object.kind === "link" && object.type === "veth")
    return { ...object, peer: { ...object.peer, namespace, name: "eth1" } };
  if (object.namespace === host || object.kind === "parent") return object;
  if (object.kind === "sysctl") return { ...object, namespace, key: object.key.replace("eth0", "eth1") };
  return "link" in object ? { ...object, namespace, link: "eth1" } : ({ ...object, namespace } as PlanObject);
}

function describeSteps(open: () => Kernel): void {
  it("names the step that was refused, and has done those before it", () => {
    const kernel = open();
    const address: PlanObject = { kind: "address", namespace: host, link: "br-9", address: "10.9.0.1/24" };
    const lost: PlanObject = { ...address, link: "br-missing" };
    const steps = [create(bridge("br-9")), create(address), create(lost), create(bridge("br-8"))];
    assert.throws(() => kernel.apply(steps), refused("ENODEV", 2));
    assertHolds(
      kernel,
      [bridge("br-9"), address].map((object) => ({ owner: "network:n", object })),
    );
  });

  it("names the refused step of a transaction, and has done those before it", () => {
    const kernel = open();
    const jump: PlanObject = {
      kind: "element",
      namespace: host,
      family: "ip",
      set: "to",
      key: '"br-9"',
      value: "jump nowhere",
    };
    const steps = [
      create(bridge("br-9")),
      create(chain("to_9", ["drop"])),
      create(port("tcp . 1", "10.0.0.2 . 1")),
      create(jump),
    ];
    assert.throws(() => kernel.apply([...steps, create(port("tcp . 2", "10.0.0.2 . 2"))]), refused("ENOENT", 3));
    const done = steps.slice(0, 3).map(({ object }) => ({ owner: "network:n", object }));
    assertHolds(kernel, done);
  });

  it("changes rules and elements", () => {
    const kernel = open();
    const [before, after] = [
      chain("to_9", ["drop"]),
      chain("to_9", ["ct status dnat accept", "tcp dport {22,21} accept", "drop"]),
    ];
    const [old, now] = [port("tcp . 1", "10.0.0.2 . 1"), port("tcp . 1", "10.0.0.3 . 2")];
    kernel.apply([create(before), create(old)]);
    kernel.apply([change(after, before, "network:m"), change(now, old, "network:m")]);
    assertHolds(
      kernel,
      [after, now].map((object) => ({ owner: "network:m", object })),
    );
  });

  it("refuses to remove a chain that an element leads to, until the element goes", () => {
    const kernel = open();
    const target = chain("to_9", ["drop"]);
    const jump: PlanObject = {
      kind: "element",
      namespace: host,
      family: "ip",
      set: "to",
      key: '"br-9"',
      value: "jump to_9",
    };
    kernel.apply([create(target), create(jump)]);
    assert.throws(() => kernel.apply([remove(target)]), refused("EBUSY", 0));
    kernel.apply([remove(jump), remove(target)]);
    assertHolds(kernel, []);
  });

  it("refuses an element that another has with another value", () => {
    const kernel = open();
    kernel.apply([create(port("tcp . 1", "10.0.0.2 . 1"))]);
    assert.throws(() => kernel.apply([create(port("tcp . 1", "10.0.0.3 . 1"))]), refused("EEXIST", 0));
  });

  it("refuses what is in a namespace that does not exist, and has nothing to remove there", () => {
    const kernel = open();
    const namespace: NamespaceName = `sandbox:${idOf(1, "f")}`;
    const objects: PlanObject[] = [
      { kind: "address", namespace, link: "eth0", address: "10.9.0.1/24" },
      { kind: "chain", namespace, family: "ip", name: "c", rules: [] },
    ];
    for (const object of objects) {
      assert.throws(() => kernel.apply([create(object)]), refused("ENOENT", 0));
      kernel.apply([remove(object)]);
    }
    assert.deepEqual(kernel.list(namespace, "address"), []);
  });

  it("refuses a route whose gateway is on no subnet of the link", () => {
    const kernel = open();
    const route: PlanObject = { kind: "route", namespace: host, to: "10.7.0.0/16", link: "br-9", via: "10.8.0.1" };
    assert.throws(() => kernel.apply([create(bridge("br-9")), create(route)]), refused("ENETUNREACH", 1));
  });
}

function describeLinks(open: () => OpenKernel): void {
  it("changes MTU, MAC and the flags of a port; with a bridge's MAC go its neighbours", () => {
    const { kernel } = open();
    const wish = { number: 1 };
    const wanted = [...networkPlan(wish), ...endpointPlan(wish, 2)];
    kernel.apply(creates(wanted));
    const neighbours = wanted.filter(({ object }) => object.kind === "neighbour");
    const changed = wanted.map(({ owner, object }) => ({ owner, object: changedLink(object) }));
    const turn = (from: readonly Wanted[], to: readonly Wanted[]) => {
      kernel.apply(
        to.flatMap(({ owner, object }, i) =>
          object.kind === "link" ? [change(object, from[i]?.object ?? object, owner)] : [],
        ),
      );
      assertHolds(
        kernel,
        to.filter((one) => one.object.kind !== "neighbour"),
      );
      kernel.apply(creates(neighbours));
      assertHolds(kernel, to);
    };
    turn(wanted, changed);
    turn(changed, wanted);
  });

  it("keeps a far end's neighbours when only the MTU changes", () => {
    const { kernel } = open();
    const wish = { number: 1 };
    const wanted = [...networkPlan(wish), ...endpointPlan(wish, 2)];
    const cable = wanted.find(({ object }) => object.kind === "link" && object.type === "veth");
    assert.ok(cable?.object.kind === "link" && cable.object.type === "veth");
    const { owner, object } = cable;
    const { namespace, name: link } = object.peer;
    const neighbour = { kind: "neighbour", namespace, link, address: "10.1.0.9", mac: "02:00:00:00:00:09" } as const;
    kernel.apply(creates([...wanted, { owner, object: neighbour }]));
    const before = kernel.list(namespace, "neighbour");
    assert.notEqual(before.length, 0);
    kernel.apply([change({ ...object, mtu: 1300 }, object, owner)]);
    assert.deepEqual(kernel.list(namespace, "neighbour"), before);
  });

  it("describes a link, and none", () => {
    const { kernel } = open();
    kernel.apply([create(bridge("br-9", { mtu: 1400 }), "network:n")]);
    const { carrier: _, index = 0, ...link } = kernel.link(host, "br-9") ?? {};
    const common = { type: "bridge", up: true, promiscuous: false, mtu: 1400 };
    assert.deepEqual(link, { name: "br-9", ...common, mac: "52:00:00:00:00:09", owner: "network:n" });
    assert.ok(index > 0);
    assert.equal(kernel.link(host, "br-8"), undefined);
  });

  it("neither takes nor removes a link that it did not make", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge("br-own", "192.0.2.1/24");
    assert.throws(() => kernel.apply([create(bridge("br-own"))]), refused("EEXIST", 0));
    kernel.apply([remove(bridge("br-own"))]);
    assert.equal(kernel.link(host, "br-own")?.type, "bridge");
    assertHolds(kernel, []);
  });

  it("uses a link that it did not make when the plan says so", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge("br-own", "192.0.2.1/24");
    kernel.apply([create(bridge("br-own", { adopt: true }))]);
    assert.equal(kernel.link(host, "br-own")?.owner, undefined);
    assert.deepEqual(kernel.list(host, "link"), [{ owner: "network:n", object: bridge("br-own", { adopt: true }) }]);
    kernel.apply([remove(bridge("br-own", { adopt: true }))]);
    assert.deepEqual(kernel.list(host, "link"), []);
    assert.equal(kernel.link(host, "br-own")?.type, "bridge");
  });

  it("tells routes and subnets of the host that are not ours", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge("br-own", "192.0.2.1/24");
    kernel.apply([
      create(bridge("br-9")),
      create({ kind: "address", namespace: host, link: "br-9", address: "10.9.0.1/24" }),
    ]);
    assert.deepEqual(
      kernel.hostRoutes().filter(({ to }) => !to.includes(":")),
      [{ to: "192.0.2.0/24", link: "br-own" }],
    );
  });
}

function changedLink(object: PlanObject): PlanObject {
  if (object.kind !== "link") return object;
  if (object.type !== "veth") return { ...object, mtu: 1300, mac: "52:00:00:00:00:33" };
  const { port: before, peer } = object;
  const { bridge: name = "" } = before ?? {};
  const flags = { bridge: name, isolated: true, hairpin: true, learning: true, proxyArp: false };
  return { ...object, mtu: 1300, mac: "56:00:00:00:00:33", peer: { ...peer, mac: "02:42:00:00:00:33" }, port: flags };
}
