import assert from "node:assert/strict";
import { it } from "node:test";
import type { MacvlanLink, NamespaceName, ParentObject, PlanObject } from "../../src/model/plan.ts";
import { assertHolds, create, host, type OpenKernel, refused, remove } from "./kernel-support.ts";

const sandbox: NamespaceName = "sandbox:5555";
const namespace: PlanObject = { kind: "namespace", namespace: sandbox };
const parent = "foreign0";
const macvlan: MacvlanLink = {
  kind: "link",
  type: "macvlan",
  namespace: sandbox,
  // As the host's loopback: a name that is taken elsewhere must not matter.
  name: "lo1",
  parent,
  mode: "bridge",
  mac: "02:00:00:00:00:11",
};
const address: PlanObject = { kind: "address", namespace: sandbox, link: "lo1", address: "10.9.0.2/24" };
const used = (promiscuous: boolean): ParentObject => ({
  kind: "parent",
  namespace: "host",
  link: parent,
  promiscuous,
});
const owner = `parent:${parent}`;

/** Links that stand on one of the host's, and what that one must be like. */
export function describeChildren(open: () => OpenKernel): void {
  it("makes a link on a parent of the host's, inside a sandbox, and lists it as planned", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge(parent, "10.9.0.1/24");
    const wanted = [
      { object: namespace, owner: sandbox },
      { object: macvlan, owner: "endpoint:e" },
      { object: address, owner: "endpoint:e" },
    ];
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(wanted.map((one) => create(one.object, one.owner)));
      assertHolds(kernel, wanted);
    }
    kernel.apply([remove(macvlan)]);
    assertHolds(kernel, wanted.slice(0, 1));
  });

  it("puts no cable into a bridge that is somebody else's", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge(parent, "10.9.0.1/24");
    const flags = { isolated: false, hairpin: false, learning: false, proxyArp: true };
    const peer = { namespace: sandbox, name: "eth0", mac: "02:00:00:00:00:12" };
    const cable: PlanObject = {
      kind: "link",
      type: "veth",
      namespace: host,
      name: "veth1",
      mac: "56:00:00:00:00:01",
      peer,
      port: { bridge: parent, ...flags },
    };
    assert.throws(() => kernel.apply([create(namespace, sandbox), create(cable, "endpoint:e")]), refused("EEXIST", 1));
    assert.deepEqual(kernel.list(host, "link"), []);
  });

  it("makes one on the host", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge(parent, "10.9.0.1/24");
    const wanted = [{ object: { ...macvlan, namespace: host, mtu: 1400 }, owner: "network:n" }];
    kernel.apply(wanted.map((one) => create(one.object, one.owner)));
    assertHolds(kernel, wanted);
  });

  it("refuses one without its parent", () => {
    const { kernel } = open();
    assert.throws(() => kernel.apply([create(namespace, sandbox), create(macvlan)]), refused("ENODEV", 1));
  });

  it("loses it with its parent", () => {
    const { kernel, foreignBridge, deleteLink } = open();
    foreignBridge(parent, "10.9.0.1/24");
    kernel.apply([namespace, macvlan, address].map((object) => create(object, "endpoint:e")));
    deleteLink(parent);
    assert.deepEqual(
      (["link", "address"] as const).flatMap((kind) => kernel.list(sandbox, kind)),
      [],
    );
  });

  it("makes it anew in another mode", () => {
    const { kernel, foreignBridge } = open();
    foreignBridge(parent, "10.9.0.1/24");
    kernel.apply([namespace, macvlan].map((object) => create(object, "endpoint:e")));
    const other = { ...macvlan, mode: "private" } as const;
    kernel.apply([{ verb: "change", object: other, was: macvlan, owner: "endpoint:e" }]);
    assert.deepEqual(
      kernel.list(sandbox, "link").map((found) => found.object),
      [other],
    );
  });

  for (const promiscuous of [true, false])
    it(`looks after a parent that is somebody else's (promiscuous: ${promiscuous})`, () => {
      const { kernel, foreignBridge } = open();
      foreignBridge(parent, "10.9.0.1/24");
      const wanted = [{ object: used(promiscuous), owner }];
      for (let twice = 0; twice < 2; twice += 1) {
        kernel.apply([create(used(promiscuous), owner)]);
        assertHolds(kernel, wanted);
      }
      assert.equal(kernel.link(host, parent)?.owner, undefined);
      kernel.apply([remove(used(promiscuous)), remove(used(promiscuous))]);
      assertHolds(kernel, []);
    });

  it("refuses a parent that is not there", () => {
    const { kernel } = open();
    assert.throws(() => kernel.apply([create(used(true), owner)]), refused("ENODEV", 0));
  });
}
