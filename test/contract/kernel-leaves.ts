import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planLeafBridge, type Tree } from "../../src/drivers/leaf.ts";
import type { BridgePort, PlanObject, VethLink } from "../../src/model/plan.ts";
import { idOf } from "./kernel-plans.ts";
import { assertHolds, bridge, create, host, type OpenKernel, remove } from "./kernel-support.ts";

const owner = "leaf:n|1";
const leafNames = (leaf: number) => ({ bridge: `lf${leaf}`, up: `up${leaf}`, down: `down${leaf}` });
const tree: Tree = { namespace: host, root: "root", leafNames, isolated: true };
const planned = planLeafBridge(idOf(1), 1, tree);
const cable = planned.find((object) => object.kind === "link" && object.type === "veth") as VethLink;
const other = {
  ...cable,
  peer: { ...cable.peer, port: { ...(cable.peer.port as BridgePort), isSpared: true } },
} as const;
const owned = (objects: readonly PlanObject[]) => objects.map((object) => ({ object, owner }));

/** Cables between bridges: both ends are ports. */
export function describeLeaves(open: () => OpenKernel): void {
  describe("leaf bridges", () => {
    it("are joined to their root, and listed as planned", () => {
      const { kernel } = open();
      for (let twice = 0; twice < 2; twice += 1) {
        kernel.apply([bridge("root"), ...planned].map((object) => create(object, owner)));
        assertHolds(kernel, owned([bridge("root"), ...planned]));
      }
      kernel.apply([cable, ...planned, bridge("root")].map(remove));
      assertHolds(kernel, []);
    });

    it("have ports that change in place, at the far end too", () => {
      const { kernel } = open();
      kernel.apply([bridge("root"), ...planned].map((object) => create(object, owner)));
      kernel.apply([{ verb: "change", object: other, was: cable, owner }]);
      assertHolds(kernel, owned([bridge("root"), ...planned.filter((object) => object !== cable), other]));
    });

    it("leave a cable without a port when they go", () => {
      const { kernel, deleteLink } = open();
      kernel.apply([bridge("root"), ...planned].map((object) => create(object, owner)));
      deleteLink("lf1");
      const [left] = kernel.list(host, "link").filter(({ object }) => object.kind === "link" && object.type === "veth");
      assert.equal((left?.object as VethLink).peer.port, undefined);
      assert.deepEqual((left?.object as VethLink).port, cable.port);
    });
  });
}
