import assert from "node:assert/strict";
import { it } from "node:test";
import { ObjectMap, tableOf } from "./object-map.ts";
import { keyOf, type PlanObject } from "./plan.ts";

const namespace = "network:n";
const on = { namespace, link: "br0" } as const;
const mac = "02:00:00:00:00:01";
const element = { kind: "element", namespace, family: "ip", set: "taken" } as const;
/** Some of them are the same thing in two states. */
const objects: readonly PlanObject[] = [
  { kind: "namespace", namespace },
  { kind: "link", type: "bridge", namespace, name: "br0" },
  { kind: "link", type: "bridge", namespace, name: "br0", mtu: 1400 },
  { kind: "address", ...on, address: "10.0.0.1/24" },
  { kind: "route", ...on, to: "0.0.0.0/0" },
  { kind: "route", namespace, link: "br1", to: "0.0.0.0/0" },
  { kind: "neighbour", ...on, address: "10.0.0.2", mac },
  { kind: "neighbour", ...on, address: "10.0.0.2", mac: "02:00:00:00:00:02" },
  { kind: "neighbour", namespace, link: "br1", address: "10.0.0.2", mac },
  { kind: "neighbour", namespace: "network:m", link: "br0", address: "10.0.0.2", mac },
  { kind: "forwarding", ...on, mac },
  { kind: "tunnel", ...on, mac, destination: "192.0.2.1" },
  { kind: "tunnel", ...on, mac, destination: "192.0.2.2" },
  { ...element, key: "10.0.0.2" },
  { ...element, key: "10.0.0.2", value: "accept" },
  { ...element, key: "10.0.0.3" },
  { ...element, family: "ip6", key: "10.0.0.2" },
];

it("an object map finds what has the same key, and nothing else", () => {
  for (const one of objects) {
    const map = new ObjectMap<PlanObject>();
    map.set(one, one);
    for (const other of objects) {
      assert.equal(map.get(other) === one, keyOf(other) === keyOf(one), `${keyOf(one)} and ${keyOf(other)}`);
      if (keyOf(other) !== keyOf(one)) map.delete(other);
    }
    assert.deepEqual([map.in(tableOf(one)), [...map.values()]], [[one], [one]]);
    map.delete(one);
    assert.deepEqual([map.get(one), map.has(tableOf(one)), [...map.values()]], [undefined, false, []]);
  }
  const all = new ObjectMap<string>();
  for (const one of objects) all.set(one, keyOf(one));
  assert.deepEqual(new Set(all.values()), new Set(objects.map(keyOf)));
});
