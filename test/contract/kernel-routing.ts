import assert from "node:assert/strict";
import { it } from "node:test";
import type { ChainObject, NamespaceName, PlanObject, RuleObject } from "../../src/model/plan.ts";
import { creates, removes, type Wanted } from "./kernel-plans.ts";
import { assertHolds, change, type OpenKernel, refused, remove } from "./kernel-support.ts";

const namespace: NamespaceName = "sandbox:5557";
const link = "eth0";
const owner = "endpoint:e";
const rule: RuleObject = { kind: "rule", namespace, priority: 100, from: "10.0.9.2", table: 100 };
const marked = { ...rule, priority: 101, mark: { value: 0x54, mask: 0xff } };
const six: RuleObject = { ...rule, from: "fd00:9::2" };
const leg: readonly PlanObject[] = [
  { kind: "namespace", namespace },
  { kind: "link", type: "bridge", namespace, name: link, mac: "52:00:00:00:00:09" },
  { kind: "sysctl", namespace, key: `net.ipv6.conf.${link}.disable_ipv6`, value: "0" },
  { kind: "address", namespace, link, address: "10.0.9.2/24" },
  { kind: "address", namespace, link, address: "fd00:9::2/64" },
  { kind: "route", namespace, to: "0.0.0.0/0", link, via: "10.0.9.7" },
];
const routes: readonly PlanObject[] = [
  { kind: "route", namespace, to: "10.0.9.0/24", link, table: 100 },
  { kind: "route", namespace, to: "0.0.0.0/0", link, via: "10.0.9.1", table: 100 },
  { kind: "route", namespace, to: "::/0", link, via: "fd00:9::1", table: 100 },
];
const unreachable = { kind: "route", namespace, link: "lo", unreachable: true } as const;
const owned = (objects: readonly PlanObject[]): Wanted[] =>
  objects.map((object) => ({ object, owner: object.kind === "namespace" ? object.namespace : owner }));

const chain: ChainObject = {
  kind: "chain",
  namespace,
  family: "netdev",
  name: "send",
  hook: "egress",
  link,
  rules: ["meta mark & 0x000000ff == 0x00000054 ether daddr set meta mark map @macs"],
};
const learning: ChainObject = {
  ...chain,
  name: "learn",
  hook: "ingress",
  rules: ["ether saddr & ff:ff:ff:00:00:00 == 02:54:54:00:00:00 update @macs { @ll,64,32 : ether saddr }"],
};
const leg4: PlanObject = { kind: "element", namespace, family: "ip", set: "legs", key: `"${link}"` };

const timeout: PlanObject = { kind: "timeout", namespace, family: "ip", name: "idle_9", seconds: 9 };
const idle: ChainObject = {
  kind: "chain",
  namespace,
  family: "ip",
  name: "idle_9",
  rules: ['meta l4proto tcp ct timeout set "idle_9"'],
};
const idles: PlanObject = {
  kind: "element",
  namespace,
  family: "ip",
  set: "idles",
  key: "10.0.9.8",
  value: "jump idle_9",
};

/** More than one routing table, what leads to it, and rules in a sandbox. */
export function describeRouting(open: () => OpenKernel): void {
  it("has routes in a table of their own beside those of the main one, and rules that lead there", () => {
    const { kernel } = open();
    const all = owned([...leg, ...routes, rule, marked, six]);
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(all));
      assertHolds(kernel, all);
    }
    const [main] = leg.slice(-1);
    if (main !== undefined) kernel.apply([remove(main)]);
    assertHolds(kernel, owned([...leg.slice(0, -1), ...routes, rule, marked, six]));
    kernel.apply([...removes(all), ...removes(all)]);
    assertHolds(kernel, []);
  });

  it("has subnets that are unreachable while no interface leads there", () => {
    const { kernel, deleteLink } = open();
    const closed = ["10.0.9.0/24", "fd00:9::/64"].map((to): PlanObject => ({ ...unreachable, to }));
    const all = owned([...leg, ...closed]);
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(all));
      assertHolds(kernel, all);
    }
    deleteLink(link, namespace);
    assertHolds(kernel, owned([...leg.slice(0, 1), ...closed]));
    kernel.apply(creates(all));
    kernel.apply(closed.map(remove));
    assertHolds(kernel, owned(leg));
    kernel.apply([...removes(all), ...removes(all)]);
    assertHolds(kernel, []);
  });

  it("has chains at an interface of a sandbox, and the sets of its base", () => {
    const { kernel, deleteLink } = open();
    const all = owned([...leg, learning, chain, leg4]);
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(all));
      assertHolds(kernel, all);
    }
    const other: ChainObject = { ...chain, hook: "ingress", rules: ["meta mark 0x00000007 drop"] };
    kernel.apply([change(other, chain, owner)]);
    assertHolds(kernel, owned([...leg, learning, other, leg4]));
    kernel.apply([remove(leg4), remove(other)]);
    assertHolds(kernel, owned([...leg, learning]));
    // Whether a chain can be there without its interface depends on Linux, which allows it since 6.16.
    deleteLink(link, namespace);
    kernel.apply(creates(owned([...leg, learning])));
    assertHolds(kernel, owned([...leg, learning]));
    kernel.apply([...removes(all), ...removes(all)]);
    assertHolds(kernel, []);
  });

  it("has a time after which idle connections are forgotten, before the chain that names it", () => {
    const { kernel } = open();
    const [first = timeout] = leg;
    assert.throws(() => kernel.apply(creates(owned([first, idle]))), refused("ENOENT", 1));
    const all = owned([first, timeout, { ...timeout, family: "ip6" } as PlanObject, idle, idles]);
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(all));
      assertHolds(kernel, all);
    }
    assert.throws(() => kernel.apply([remove(timeout)]), refused("EBUSY", 0));
    kernel.apply([...removes(all), ...removes(all)]);
    assertHolds(kernel, []);
  });

  it("puts a rule in the place of another one of its number and family", () => {
    const { kernel } = open();
    kernel.apply(creates(owned([...leg, rule, six])));
    const other: RuleObject = { ...marked, priority: rule.priority, from: "10.0.9.3", table: 101 };
    kernel.apply([change(other, rule, owner)]);
    assertHolds(kernel, owned([...leg, other, six]));
    kernel.apply([change(rule, other, owner)]);
    assertHolds(kernel, owned([...leg, rule, six]));
  });
}
