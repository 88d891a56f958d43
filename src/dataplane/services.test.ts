import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import type { RowChange } from "../../test/support/mesh-host.ts";
import {
  addressOf,
  backendChange,
  containerChanges,
  endpointId,
  entryChanges,
  hostChanges,
  overlayOn,
  peerChange,
  portOf,
  serviceId,
  taskKey,
  virtualChange,
} from "../../test/support/mesh-rows.ts";
import { idOf } from "../../test/support/rows.ts";
import { defaultBalancer } from "../balancers/index.ts";
import { drivers } from "../drivers/index.ts";
import { createFakeKernel, type FakeKernel } from "../kernel/fake/fake-kernel.ts";
import type { Step } from "../kernel/kernel.ts";
import { keyOf, type NamespaceName } from "../model/plan.ts";
import type { VirtualService } from "../model/service.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { TableName, Tables } from "../store/tables.ts";
import { createDataplane } from "./create-dataplane.ts";
import type { Dataplane } from "./dataplane.ts";

const sandbox = (member: number): NamespaceName => `sandbox:${idOf("5", member)}`;
const started: Dataplane[] = [];
afterEach(async () => {
  for (const one of started.splice(0)) await one.stop();
});

/** Host 1 with these rows, over a kernel in memory. */
async function host(...changes: readonly (readonly RowChange[])[]) {
  const store = createMemoryStore();
  const kernel = createFakeKernel();
  const steps: Step[] = [];
  const open = async (): Promise<Dataplane> => {
    const noting = Object.assign(Object.create(kernel) as FakeKernel, {
      apply(some: readonly Step[]) {
        steps.push(...some);
        kernel.apply(some);
      },
    });
    const dataplane = createDataplane({
      store,
      kernel: noting,
      driverFor: (name) => drivers[name],
      balancer: defaultBalancer,
      log: { info() {}, warn() {} },
    });
    started.push(dataplane);
    await dataplane.start();
    return dataplane;
  };
  const write = async (some: readonly RowChange[]) => {
    const { revision } = await store.update((tx) => {
      for (const [table, row] of some)
        if (typeof row === "string") tx.delete(table, row);
        else tx.put(table, row as Tables[TableName]);
    });
    return revision;
  };
  let dataplane = await open();
  /** @returns the steps that it took */
  const commit = async (...some: readonly RowChange[]) => {
    steps.length = 0;
    await dataplane.settled("host", await write(some));
    return steps.map(({ verb, object }) => `${verb} ${keyOf(object)}`);
  };
  await commit(...hostChanges(1), ...changes.flat());
  return {
    kernel,
    commit,
    audit: () => dataplane.audit(),
    /** Rows change while it is away. @returns the steps that a new one took */
    async restart(...some: readonly RowChange[]) {
      await dataplane.stop();
      await write(some);
      steps.length = 0;
      dataplane = await open();
      return steps.map(({ verb, object }) => `${verb} ${keyOf(object)}`);
    },
  };
}

/** Service 1 with two tasks on host 2; containers 21 and 22 ask. */
const shop: readonly RowChange[] = [
  virtualChange(1, "shop"),
  ...[21, 22].flatMap((member) => containerChanges(1, member, ["shop"])),
  ...[31, 32].flatMap((member): RowChange[] => [peerChange(2, member, "shop"), backendChange(1, member, 2, "shop")]),
];
/** So many more, each with two virtual addresses of its own. */
const more = (count: number): RowChange[] =>
  Array.from({ length: count }, (_, i): RowChange => {
    const [, row] = virtualChange(2 + i, "shop");
    const addresses = [`10.2.${100 + (i >> 8)}.${i & 0xff}`, `fd00:2::ff:${(i + 1).toString(16)}`];
    return ["virtualServices", { ...(row as VirtualService), addresses }];
  });
const isOfSandbox = (step: string) => /sandbox:\w+/.exec(step)?.[0];

describe("services in the kernel", () => {
  it("change with a task in what is theirs, in the sandboxes that see them, however many services there are", async () => {
    const few = await host(shop, more(10));
    const many = await host(shop, more(2000));
    const gone = [["backends", taskKey(32, "shop")]] as const;
    const [removal, again] = [await few.commit(...gone), await many.commit(...gone)];
    assert.deepEqual(again, removal);
    assert.deepEqual(new Set(removal.map(isOfSandbox)), new Set([21, 22].map(sandbox)));
    // One element goes and one or two change, in each family and sandbox.
    assert.ok(removal.length <= 12, String(removal.length));
    const back = backendChange(1, 32, 2, "shop");
    assert.deepEqual(await many.commit(back), await few.commit(back));
    for (const one of [few, many]) assert.deepEqual(await one.audit(), []);
  });

  it("of one sandbox change in one transaction, in which a chain goes after what led to it", async () => {
    const members = Array.from({ length: 17 }, (_, i) => 30 + i);
    const tasks = (of: readonly number[]) =>
      of.flatMap((member): RowChange[] => [peerChange(2, member, "shop"), backendChange(1, member, 2, "shop")]);
    const one = await host([virtualChange(1, "shop")], containerChanges(1, 21, ["shop"]), tasks(members));
    const steps = await one.commit(["backends", taskKey(30, "shop")]);
    const of4 = steps.filter((step) => step.includes("|ip|"));
    assert.match(of4.at(-1) ?? "", /^remove chain/);
    assert.ok(
      steps.findIndex((step) => step.startsWith("remove element")) <
        steps.findIndex((step) => step.startsWith("change")),
    );
    assert.deepEqual(await one.audit(), []);
  });

  it("come with a client's network and go with it; with its namespace they go by themselves", async () => {
    const one = await host(shop, more(20));
    const before = one.kernel.print();
    const leg = containerChanges(1, 21, ["shop"]).find(([table]) => table === "endpoints");
    assert.ok(leg);
    await one.commit(["endpoints", endpointId(21, "shop")]);
    assert.doesNotMatch(one.kernel.print(), new RegExp(`element\\|${sandbox(21)}`));
    assert.deepEqual(await one.audit(), []);
    await one.commit(leg);
    assert.equal(one.kernel.print(), before);
    const steps = await one.commit(
      ["endpoints", endpointId(21, "shop")],
      ["endpoints", endpointId(21, "gateway")],
      ["sandboxes", idOf("5", 21)],
    );
    assert.deepEqual(
      steps.filter((step) => step.startsWith("remove element|sandbox")),
      [],
    );
    assert.deepEqual(await one.audit(), []);
  });

  it("go with the network when its rows go in one commit with the last container", async () => {
    const one = await host(shop);
    const network = overlayOn(1, "shop").network.id;
    await one.commit(
      ["endpoints", endpointId(21, "shop")],
      ["endpoints", endpointId(22, "shop")],
      ["virtualServices", `${serviceId(1)}|${network}`],
      ...[31, 32].flatMap((member): RowChange[] => [
        ["backends", taskKey(member, "shop")],
        ["peers", endpointId(member, "shop")],
      ]),
      ["networks", network],
    );
    assert.deepEqual(await one.audit(), []);
    assert.doesNotMatch(one.kernel.print(), /services/);
  });

  it("are taken up again after a restart without a step", async () => {
    const published = [virtualChange(2, "ingress", { ports: [portOf(8080, 80)] }), ...entryChanges(1)];
    const task = containerChanges(1, 41, ["ingress", "shop"]);
    const one = await host(shop, published, task, [backendChange(2, 41, 1, "ingress")]);
    assert.deepEqual(await one.restart(), []);
    assert.deepEqual(await one.audit(), []);
  });

  it("leave nothing on the host when the ingress sandbox goes", async () => {
    const one = await host([virtualChange(2, "ingress", { ports: [portOf(8080, 80)] })], entryChanges(1));
    assert.match(one.kernel.print(), /element\|host\|ip\|published\|tcp \. 8080/);
    const legs = entryChanges(1).flatMap(([table, row]) =>
      table === "endpoints" && typeof row !== "string" ? [["endpoints", row.id] as const] : [],
    );
    await one.commit(...legs, ["sandboxes", "ingress_sbox"]);
    assert.deepEqual(await one.audit(), []);
    assert.doesNotMatch(one.kernel.print(), /8080|ingress_sbox/);
  });

  it("that were flushed in a container are there again with the next change", async () => {
    const one = await host(shop);
    one.kernel.flushRules(sandbox(21));
    assert.notDeepEqual(await one.audit(), []);
    one.kernel.failNext("change", "element", "ENOENT");
    await one.commit(["backends", taskKey(32, "shop")]);
    assert.deepEqual(await one.audit(), []);
  });
});

describe("connections to a task", () => {
  const begun = (kernel: FakeKernel, member: number, answeredFrom: string) =>
    kernel.connections.push({ namespace: sandbox(member), answeredFrom });
  const left = (kernel: FakeKernel) => kernel.connections.map(({ answeredFrom }) => answeredFrom);
  const [first, second] = [addressOf("shop", 31), addressOf("shop", 32)];

  for (const [what, gone] of [
    [
      "after it got no new ones for a while",
      [[["backends", taskKey(32, "shop")]], [["peers", endpointId(32, "shop")]]],
    ],
    ["at once", [[["peers", endpointId(32, "shop")]], [["backends", taskKey(32, "shop")]]]],
  ] as const)
    it(`are forgotten when its endpoint is gone, ${what}`, async () => {
      const one = await host(shop);
      for (const address of [first, second]) begun(one.kernel, 21, address);
      begun(one.kernel, 22, second);
      const [before, after] = gone;
      await one.commit(...before);
      assert.equal(left(one.kernel).includes(second), before[0][0] === "backends");
      await one.commit(...after);
      assert.deepEqual(left(one.kernel), [first]);
    });

  it("of this host are forgotten with its own endpoint", async () => {
    const one = await host(shop, containerChanges(1, 33, ["shop"]), [backendChange(1, 33, 1, "shop")]);
    begun(one.kernel, 21, addressOf("shop", 33));
    await one.commit(
      ["endpoints", endpointId(33, "shop")],
      ["endpoints", endpointId(33, "gateway")],
      ["sandboxes", idOf("5", 33)],
    );
    assert.deepEqual(left(one.kernel), []);
  });

  it("stay when somebody else on the network goes, and when they are a container's own", async () => {
    const one = await host(shop, [peerChange(2, 50, "shop")]);
    begun(one.kernel, 21, addressOf("shop", 50));
    await one.commit(["peers", endpointId(50, "shop")]);
    assert.deepEqual(left(one.kernel), [addressOf("shop", 50)]);
  });

  it("are forgotten at the start when it went while nobody looked, and no others", async () => {
    const one = await host(shop);
    for (const address of [first, second, "198.51.100.7"]) begun(one.kernel, 21, address);
    await one.restart(["peers", endpointId(32, "shop")], ["backends", taskKey(32, "shop")]);
    assert.deepEqual(left(one.kernel), [first, "198.51.100.7"]);
  });
});
