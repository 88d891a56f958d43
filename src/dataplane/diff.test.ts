import assert from "node:assert/strict";
import { it } from "node:test";
import { keyOf, type LinkObject, type Owner, type PlanObject } from "../model/plan.ts";
import { diff, type Holding, type Holdings, matches } from "./diff.ts";

const bridge: LinkObject = { kind: "link", type: "bridge", namespace: "host", name: "br-1", mac: "52:00:00:00:00:01" };
const route = (link: string): PlanObject => ({ kind: "route", namespace: "sandbox:5", to: "0.0.0.0/0", link });
const port = (value: string): PlanObject => ({
  kind: "element",
  namespace: "host",
  family: "ip",
  set: "published",
  key: "tcp . 80",
  value,
});

function holdings(...held: readonly (readonly [Owner, PlanObject])[]): Holdings {
  const all = new Map(held.map(([owner, object]): [string, Holding] => [keyOf(object), { owner, object }]));
  return {
    get: (object) => all.get(keyOf(object)),
    of: (owner) => [...all.values()].filter((one) => one.owner === owner),
    on: (namespace, link) =>
      [...all.values()].filter(
        ({ object }) => "link" in object && object.link === link && object.namespace === namespace,
      ),
  };
}
const verbs = (...args: Parameters<typeof diff>) =>
  diff(...args).steps.map(({ verb, object, owner }) => `${owner} ${verb} ${keyOf(object)}`);

it("has nothing to do when all is there", () => {
  const there = holdings(["network:1", bridge], ["endpoint:1", port("10.0.0.2 . 80")]);
  assert.deepEqual(diff(new Map([["network:1", [bridge]]]), there), { steps: [], taken: [] });
});

it("creates, changes and removes", () => {
  const there = holdings(["network:1", { ...bridge, mac: "52:00:00:00:00:02" }], ["network:1", route("eth0")]);
  assert.deepEqual(verbs(new Map([["network:1", [bridge, port("10.0.0.2 . 80")]]]), there), [
    "network:1 change link|host|br-1",
    "network:1 create element|host|ip|published|tcp . 80",
    "network:1 remove route|sandbox:5|0.0.0.0/0",
  ]);
});

it("hands over what one owner gives up and another wants", () => {
  const there = holdings(["endpoint:1", route("eth0")], ["endpoint:1", port("10.0.0.2 . 80")]);
  const plans = new Map<Owner, PlanObject[]>([
    ["endpoint:1", []],
    ["endpoint:2", [route("eth1"), port("10.0.0.2 . 80")]],
  ]);
  assert.deepEqual(verbs(plans, there), [
    "endpoint:2 change route|sandbox:5|0.0.0.0/0",
    "endpoint:2 change element|host|ip|published|tcp . 80",
  ]);
});

it("only notes the new owner of what carries no mark", () => {
  const { steps, taken } = diff(new Map([["endpoint:2", [route("eth0")]]]), holdings(["endpoint:1", route("eth0")]));
  assert.deepEqual(steps, []);
  assert.deepEqual(taken, [{ owner: "endpoint:2", object: route("eth0") }]);
});

it("leaves alone what owners have who are not compared", () => {
  assert.deepEqual(verbs(new Map([["network:1", []]]), holdings(["network:2", bridge])), []);
});

it("writes again what others have on a tunnel that is made anew", () => {
  const namespace = "network:1";
  const vxlan: LinkObject = {
    kind: "link",
    type: "vxlan",
    namespace,
    name: "vx",
    vni: 4097,
    udpPort: 4789,
    local: "192.0.2.1",
  };
  const tunnel: PlanObject = {
    kind: "tunnel",
    namespace,
    link: "vx",
    mac: "02:00:00:00:00:01",
    destination: "192.0.2.2",
  };
  const there = holdings(["network:1", vxlan], ["peer:1", tunnel]);
  const moved = new Map<Owner, PlanObject[]>([["network:1", [{ ...vxlan, local: "192.0.2.9" }]]]);
  assert.deepEqual(verbs(moved, there), [`network:1 change ${keyOf(vxlan)}`, `peer:1 create ${keyOf(tunnel)}`]);
  assert.deepEqual(verbs(new Map(moved).set("peer:1", []), there), [
    `network:1 change ${keyOf(vxlan)}`,
    `peer:1 remove ${keyOf(tunnel)}`,
  ]);
  const wider = new Map<Owner, PlanObject[]>([["network:1", [{ ...vxlan, mtu: 1400 }]]]);
  assert.deepEqual(verbs(wider, there), [`network:1 change ${keyOf(vxlan)}`]);
});

it("knows what of a link may be left open", () => {
  const { mac: _, ...open } = bridge;
  assert.ok(matches(open, bridge));
  assert.ok(!matches(bridge, open));
  assert.ok(matches({ ...bridge, mtu: 1500 }, bridge));
  assert.ok(!matches(bridge, { ...bridge, mtu: 1400 }));
  assert.ok(matches({ ...bridge, adopt: true }, bridge));
});
