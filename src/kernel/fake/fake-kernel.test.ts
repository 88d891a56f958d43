import assert from "node:assert/strict";
import { it } from "node:test";
import { kernelContract } from "../../../test/contract/kernel.ts";
import { ipvsContract } from "../../../test/contract/kernel-ipvs.ts";
import { type ChainObject, keyOf, type PlanObject } from "../../model/plan.ts";
import { createFakeKernel } from "./fake-kernel.ts";

kernelContract("fake kernel", () => {
  const kernel = createFakeKernel();
  return {
    kernel,
    foreignBridge(name, address) {
      kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name });
      kernel.foreignRoutes.push({ to: address.replace(/\.\d+\//, ".0/"), link: name });
    },
    foreignVxlan: (name, vni, udpPort) =>
      kernel.disturb({ kind: "link", type: "vxlan", namespace: "host", name, vni, udpPort, local: "192.0.2.9" }),
    deleteLink: (name, namespace = "host") => kernel.lose(`link|${namespace}|${name}`),
    deleteTunnel: (tunnel) => kernel.lose(keyOf(tunnel)),
    track: (namespace, answeredFrom) => void kernel.connections.push({ namespace, answeredFrom }),
    wireguard: () => ["twg0", "twh0"],
    flushRules: () => kernel.flushRules(),
    alterChain: (chain: ChainObject, how) =>
      kernel.disturb({ ...chain, rules: how === "empty" ? [] : [...chain.rules, "accept"] }),
    close: () => kernel.close(),
  };
});

ipvsContract("fake kernel", () => {
  const kernel = createFakeKernel();
  return { kernel, close: () => kernel.close() };
});

const bridge: PlanObject = { kind: "link", type: "bridge", namespace: "host", name: "br-1" };

it("refuses what it was told to, once", () => {
  const kernel = createFakeKernel();
  kernel.failNext("create", "link", "ENOSPC");
  const steps = [{ verb: "create", owner: "network:n", object: bridge }] as const;
  assert.throws(() => kernel.apply(steps), { code: "ENOSPC", step: 0 });
  assert.equal(kernel.state.size, 0);
  kernel.apply(steps);
  assert.equal(kernel.state.size, 1);
});

it("prints one line an object", () => {
  const kernel = createFakeKernel();
  kernel.apply([{ verb: "create", owner: "network:n", object: bridge }]);
  assert.equal(kernel.print(), 'link|host|br-1 {"type":"bridge","name":"br-1"} # network:n\n');
});
