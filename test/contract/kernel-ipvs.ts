import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Kernel } from "../../src/kernel/kernel.ts";
import {
  type DestinationObject,
  type Family,
  familyOf,
  type IpvsObject,
  type IpvsScheduler,
  type NamespaceName,
  type PlanObject,
} from "../../src/model/plan.ts";
import { creates, removes, type Wanted } from "./kernel-plans.ts";
import { assertHolds, change, create, listAll, refused, remove } from "./kernel-support.ts";

const sandbox: NamespaceName = `sandbox:${"5".repeat(64)}`;
const owner = `service:${"5".repeat(64)}|n|s`;
const namespace: Wanted = { owner: sandbox, object: { kind: "namespace", namespace: sandbox } };
const service = (mark: number, family: Family = "ip", scheduler: IpvsScheduler = "rr"): IpvsObject => ({
  kind: "ipvs",
  namespace: sandbox,
  family,
  mark,
  scheduler,
});
const destination = (mark: number, address: string): DestinationObject => ({
  kind: "destination",
  namespace: sandbox,
  family: familyOf(address),
  mark,
  address,
});
const owned = (...objects: PlanObject[]): Wanted[] => objects.map((object) => ({ object, owner }));

/** What every kernel with IPVS does. Each test gets its own. */
export function ipvsContract(name: string, open: () => { readonly kernel: Kernel; readonly close: () => void }): void {
  describe(`${name}: IPVS`, () => {
    let kernel: Kernel;
    let close: () => void;
    beforeEach(() => {
      ({ kernel, close } = open());
      kernel.apply(creates([namespace]));
    });
    afterEach(() => {
      kernel.apply(removes([namespace]));
      close();
    });

    it("is there", () => assert.equal(kernel.hasIpvs(), true));

    it("lists services and their destinations as planned, and removes what is gone", () => {
      const wanted = owned(
        service(1),
        service(0xffffffff, "ip", "lc"),
        service(1, "ip6", "sh"),
        ...["10.0.0.2", "10.0.0.3"].flatMap((address) => [destination(1, address), destination(0xffffffff, address)]),
        destination(1, "2001:db8::2"),
      );
      for (let twice = 0; twice < 2; twice += 1) {
        kernel.apply(creates(wanted));
        assertHolds(kernel, [namespace, ...wanted]);
      }
      for (let twice = 0; twice < 2; twice += 1) {
        kernel.apply(removes(wanted));
        assertHolds(kernel, [namespace]);
      }
    });

    it("changes in place how a service shares out: its destinations stay", () => {
      const kept = [destination(7, "10.0.0.2"), destination(7, "10.0.0.3")];
      kernel.apply(creates(owned(service(7), ...kept)));
      for (const scheduler of ["lc", "sh", "rr"] as const) {
        kernel.apply([change(service(7, "ip", scheduler), service(7), owner)]);
        assertHolds(kernel, [namespace, ...owned(service(7, "ip", scheduler), ...kept)]);
      }
    });

    it("keeps the connections of a destination that was removed until they are forgotten", () => {
      const [one, two] = [destination(7, "10.0.0.2"), destination(7, "10.0.0.3")];
      kernel.apply(creates(owned(service(7), one, two)));
      kernel.apply([remove(one)]);
      assertHolds(kernel, [namespace, ...owned(service(7), two)]);
      assert.deepEqual(kernel.answering(sandbox), ["10.0.0.2"]);
      kernel.forgetConnections(sandbox, ["10.0.0.3"]);
      assert.deepEqual(kernel.answering(sandbox), ["10.0.0.2"]);
      assertHolds(kernel, [namespace, ...owned(service(7), two)]);
      kernel.forgetConnections(sandbox, ["10.0.0.2"]);
      assert.deepEqual(kernel.answering(sandbox), []);
      kernel.forgetConnections(sandbox, ["10.0.0.2"]);
      assertHolds(kernel, [namespace, ...owned(service(7), two)]);
    });

    it("gives new connections again to a destination that was removed", () => {
      const one = destination(7, "10.0.0.2");
      kernel.apply(creates(owned(service(7), one)));
      kernel.apply([remove(one), create(one, owner)]);
      assert.deepEqual(kernel.answering(sandbox), []);
      kernel.forgetConnections(sandbox, ["10.0.0.2"]);
      assertHolds(kernel, [namespace, ...owned(service(7), one)]);
    });

    it("loses with a service what it leads to", () => {
      kernel.apply(creates(owned(service(7), destination(7, "10.0.0.2"), destination(7, "10.0.0.3"))));
      kernel.apply([remove(destination(7, "10.0.0.2")), remove(service(7))]);
      assertHolds(kernel, [namespace]);
      assert.deepEqual(kernel.answering(sandbox), []);
    });

    it("refuses a destination without its service, and a service without its namespace", () => {
      const elsewhere = { ...service(7), namespace: `sandbox:${"6".repeat(64)}` } as const;
      assert.throws(() => kernel.apply(creates(owned(destination(7, "10.0.0.2")))), refused("ESRCH", 0));
      assert.throws(() => kernel.apply([create(elsewhere, owner)]), refused("ENOENT", 0));
      kernel.apply([remove(destination(7, "10.0.0.2")), remove(elsewhere)]);
      assert.deepEqual([...listAll(kernel).keys()], [`namespace|${sandbox}`]);
    });
  });
}
