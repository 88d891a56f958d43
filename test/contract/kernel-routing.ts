import { it } from "node:test";
import type { NamespaceName, PlanObject, RuleObject } from "../../src/model/plan.ts";
import { creates, removes, type Wanted } from "./kernel-plans.ts";
import { assertHolds, change, type OpenKernel, remove } from "./kernel-support.ts";

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
const owned = (objects: readonly PlanObject[]): Wanted[] =>
  objects.map((object) => ({ object, owner: object.kind === "namespace" ? object.namespace : owner }));

/** More than one routing table, and what leads to it. */
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
