/** Runs in a host of a lane, in a network namespace of its own: what every kernel with IPVS does, on Linux. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { after, it } from "node:test";
import { calls } from "../../../src/kernel/libc.ts";
import { createKernel } from "../../../src/kernel/linux-kernel.ts";
import { text, u16, u32 } from "../../../src/kernel/netlink/attributes.ts";
import { familyId, genericMessage } from "../../../src/kernel/netlink/generic.ts";
import { RouteSocket } from "../../../src/kernel/netlink/socket.ts";
import type { Realm } from "../../../src/kernel/realms.ts";
import type { PlanObject } from "../../../src/model/plan.ts";
import { ipvsContract } from "../../contract/kernel-ipvs.ts";
import { creates, removes } from "../../contract/kernel-plans.ts";
import { assertHolds } from "../../contract/kernel-support.ts";

const directory = mkdtempSync("/run/ipvs-");
const open = () => {
  const kernel = createKernel({ netnsDir: directory, engine: "test" });
  return { kernel, close: () => kernel.close() };
};
after(() => {
  calls.umount2(directory, 2);
  rmSync(directory, { recursive: true });
});

ipvsContract("Linux", open);

it("has what an earlier process asked for, and leaves alone what a container has made for itself", () => {
  const { kernel, close } = open();
  const namespace = `sandbox:${"7".repeat(64)}` as const;
  const place = { namespace, family: "ip", mark: 7 } as const;
  const objects: PlanObject[] = [
    { kind: "namespace", namespace },
    { kind: "ipvs", ...place, scheduler: "lc" },
    { kind: "destination", ...place, address: "10.0.0.2" },
  ];
  const wanted = objects.map((object) => ({ object, owner: namespace }));
  kernel.apply(creates(wanted));
  const socket = kernel.inside(namespace, () => new RouteSocket(16));
  const all = 0xffffffff;
  const words = [u16(2), u32(9), text("rr"), Buffer.concat([u32(0), u32(all)]), u32(0), u32(all)];
  const types = [1, 5, 6, 7, 8, 9]; // IPVS_SVC_ATTR_*: family, mark, scheduler, flags, timeout, mask
  const newService = 1; // IPVS_CMD_NEW_SERVICE
  const family = familyId({ generic: () => socket } as Realm, "IPVS");
  const service = types.map((type, at) => [type, words[at] ?? Buffer.alloc(0)] as const);
  socket.exchange(genericMessage(family, newService, [[1, service]]));
  socket.close();
  const again = open();
  assertHolds(again.kernel, wanted);
  again.kernel.apply(removes(wanted.slice(1)));
  assertHolds(again.kernel, wanted.slice(0, 1));
  const table = kernel.inside(namespace, () => readFileSync("/proc/thread-self/net/ip_vs", "utf8"));
  assert.match(table, /^FWM +00000009 rr/m);
  assert.doesNotMatch(table, /^FWM +00000007/m);
  again.kernel.apply(removes(wanted));
  again.close();
  close();
});
