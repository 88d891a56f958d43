import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";
import { defaultBalancer } from "../balancers/index.ts";
import { drivers } from "../drivers/index.ts";
import { createFakeKernel, type FakeKernel } from "../kernel/fake/fake-kernel.ts";
import { KernelError, type Step } from "../kernel/kernel.ts";
import type { Owner } from "../model/plan.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store, Transaction } from "../store/store.ts";
import {
  deleteContainer,
  deleteNetwork,
  endpointRow,
  idOf,
  networkRows,
  putContainer,
  putNetwork,
  sandboxRow,
} from "../../test/support/rows.ts";
import { createDataplane } from "./create-dataplane.ts";
import type { Dataplane } from "./dataplane.ts";
import { until } from "../../test/support/until.ts";

const one = networkRows({ number: 1 });
const two = networkRows({ number: 2, ipv6: true });
const wide = networkRows({
  number: 3,
  driver: "overlay",
  vni: 4097,
  tunnel: { udpPort: 4789, local: "192.0.2.1", mtu: 1450 },
});
const owner = `network:${one.network.id}` as const;
const published = { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 } as const;

let kernel: FakeKernel;
let store: Store;
let dataplane: Dataplane;
let logged: string[];
/** Steps of each apply that had any. */
let applied: (readonly Step[])[];

/** A data plane over the kernel and the store of this test. */
function open(kernel: FakeKernel): Dataplane {
  const note = (_: object, message: string) => void logged.push(message);
  const counting = Object.assign(Object.create(kernel), {
    apply(steps: readonly Step[]) {
      applied.push(steps);
      kernel.apply(steps);
    },
  }) as FakeKernel;
  return createDataplane({
    store,
    kernel: counting,
    driverFor: (name) => drivers[name],
    balancer: defaultBalancer,
    log: { info: note, warn: note },
  });
}

beforeEach(async () => {
  logged = [];
  applied = [];
  kernel = createFakeKernel();
  store = createMemoryStore();
  dataplane = open(kernel);
  await dataplane.start();
  applied = [];
});
afterEach(async () => {
  await dataplane.stop();
  await store.close();
});

/** Commits, and waits for these owners. */
async function commit(change: (tx: Transaction) => void, ...owners: Owner[]): Promise<void> {
  const { revision } = await store.update(change);
  for (const one of owners) await dataplane.settled(one, revision);
}
const twoContainers = (tx: Transaction) => {
  putNetwork(tx, one);
  putContainer(tx, one, { member: 2, ports: [published] });
  putContainer(tx, one, { member: 3 });
};
const assertClean = async () => assert.deepEqual(await dataplane.audit(), []);

it("has the plan in the kernel when it says so", async () => {
  await commit(twoContainers, owner);
  assert.ok(kernel.state.has(`link|host|br-${one.network.id.slice(0, 12)}`));
  assert.ok(kernel.state.has("element|host|ip|published|tcp . 8080"));
  await assertClean();
});

it("is balanced when the kernel has what sends connections to tasks, whatever else it refuses", async () => {
  const signal = AbortSignal.timeout(5000);
  kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name: `br-${one.network.id.slice(0, 12)}` });
  const { revision } = await store.update((tx) => putNetwork(tx, one));
  await assert.rejects(dataplane.settled(owner, revision));
  await dataplane.balanced(revision, signal);
  for (let times = 0; times < 2; times += 1) kernel.failNext("create", "namespace", "ENOMEM");
  const next = await store.update((tx) => tx.insert("sandboxes", sandboxRow(2)));
  const sandbox = `sandbox:${sandboxRow(2).id}` as const;
  await assert.rejects(dataplane.settled(sandbox, next.revision));
  await dataplane.balanced(next.revision, signal);
  assert.equal(dataplane.errorOf(sandbox), undefined);
});

it("settles without a timer", async () => {
  let late = false;
  const { revision } = await store.update(twoContainers);
  setTimeout(() => (late = true), 0);
  const stop = performance.now() + 20;
  while (performance.now() < stop);
  await dataplane.settled(owner, revision);
  assert.equal(late, false);
});

it("writes what changed and nothing else", async () => {
  await commit(twoContainers, owner);
  applied = [];
  await commit((tx) => putContainer(tx, one, { member: 4 }), owner);
  const steps = applied.flat();
  assert.ok(steps.length > 5 && steps.length < 20, `${steps.length} steps`);
  const ids = [idOf("5", 4), idOf("e", 0x10004)];
  for (const step of steps) assert.ok(step.verb === "create" && ids.some((id) => step.owner.includes(id)));
});

it("takes everything away with the rows", async () => {
  await commit(twoContainers, owner);
  await commit((tx) => {
    for (const endpoint of tx.list("endpoints")) deleteContainer(tx, endpoint);
    deleteNetwork(tx, one);
  }, owner);
  await assertClean();
  const left = [...kernel.state.values()].filter((found) => found.object.kind !== "sysctl");
  assert.deepEqual(left, []);
});

it("moves a default route to another endpoint", async () => {
  const first = endpointRow(one, { member: 2 });
  const second = endpointRow(two, { member: 2, interfaceName: "eth1" });
  await commit((tx) => {
    putNetwork(tx, one);
    putNetwork(tx, two);
    tx.put("sandboxes", sandboxRow(2, first));
    for (const endpoint of [first, second]) tx.put("endpoints", endpoint);
  }, owner);
  await commit((tx) => tx.put("sandboxes", sandboxRow(2, second)), `endpoint:${second.id}`);
  await assertClean();
  const route = kernel.state.get(`route|sandbox:${idOf("5", 2)}|0.0.0.0/0`)?.object;
  assert.ok(route?.kind === "route" && route.link === "eth1");
  await commit((tx) => {
    tx.delete("endpoints", second.id);
    tx.put("sandboxes", sandboxRow(2, first));
  }, `endpoint:${first.id}`);
  await assertClean();
});

it("moves a published port to another endpoint in one commit", async () => {
  await commit(twoContainers, owner);
  await commit((tx) => {
    deleteContainer(tx, endpointRow(one, { member: 2 }));
    putContainer(tx, one, { member: 3, ports: [published] });
  }, owner);
  const found = kernel.state.get("element|host|ip|published|tcp . 8080");
  assert.equal(found?.owner, `endpoint:${idOf("e", 0x10003)}`);
  await assertClean();
});

it("refuses one owner and serves the others", async () => {
  kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name: `br-${one.network.id.slice(0, 12)}` });
  const { revision } = await store.update((tx) => {
    putNetwork(tx, one);
    putNetwork(tx, two);
  });
  await assert.rejects(
    dataplane.settled(owner, revision),
    (error) => error instanceof KernelError && error.code === "EEXIST",
  );
  await dataplane.settled(`network:${two.network.id}`, revision);
  assert.match(dataplane.errorOf(owner)?.message ?? "", /not ours/);
  assert.equal(dataplane.errorOf(`network:${two.network.id}`), undefined);
});

it("goes on trying what was refused, until it is there", async () => {
  const name = `br-${one.network.id.slice(0, 12)}`;
  kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name });
  const { revision } = await store.update((tx) => putNetwork(tx, one));
  await assert.rejects(dataplane.settled(owner, revision));
  kernel.lose(`link|host|${name}`);
  await until(() => dataplane.errorOf(owner) === undefined);
  await assertClean();
});

it("gives up with the row", async () => {
  kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name: `br-${one.network.id.slice(0, 12)}` });
  const { revision } = await store.update((tx) => putNetwork(tx, one));
  await assert.rejects(dataplane.settled(owner, revision));
  await commit((tx) => deleteNetwork(tx, one), owner);
  assert.equal(dataplane.errorOf(owner), undefined);
});

it("plans the others when a driver throws on one network", async () => {
  const bad = networkRows({ number: 3, options: { nonsense: "1" } });
  const { revision } = await store.update((tx) => {
    putNetwork(tx, bad);
    putNetwork(tx, one);
  });
  await dataplane.settled(owner, revision);
  await assert.rejects(dataplane.settled(`network:${bad.network.id}`, revision), /unknown option "nonsense"/);
});

it("survives a refusal that does not last", async () => {
  kernel.failNext("create", "link", "ENOMEM");
  await commit(twoContainers, owner);
  await assertClean();
});

it("mends what was taken away just before", async () => {
  await commit(twoContainers, owner);
  const bridge = `link|host|br-${one.network.id.slice(0, 12)}`;
  kernel.lose(bridge);
  kernel.flushRules();
  await commit((tx) => putContainer(tx, one, { member: 4, ports: [{ ...published, hostPort: 81 }] }), owner);
  assert.equal(dataplane.errorOf(`endpoint:${idOf("e", 0x10004)}`), undefined);
  await assertClean();
});

it("touches nothing after a restart", async () => {
  await commit((tx) => {
    twoContainers(tx);
    putNetwork(tx, two);
    putContainer(tx, two, { member: 5, container: 5 });
  }, owner);
  await dataplane.stop();
  applied = [];
  dataplane = open(kernel);
  await dataplane.start();
  assert.deepEqual(applied, []);
});

it("sweeps after a restart what nobody wants any more", async () => {
  await commit(twoContainers, owner);
  await dataplane.stop();
  await store.update((tx) => deleteContainer(tx, endpointRow(one, { member: 3 })));
  dataplane = open(kernel);
  await dataplane.start();
  await assertClean();
  assert.deepEqual(kernel.namespaces(), [`sandbox:${idOf("5", 2)}`]);
});

it("leaves a bridge that it uses but did not make", async () => {
  const options = { "com.docker.network.bridge.name": "br0" };
  kernel.disturb({ kind: "link", type: "bridge", namespace: "host", name: "br0" });
  await commit((tx) => putNetwork(tx, networkRows({ number: 1, options })), owner);
  assert.ok(kernel.state.has("address|host|br0|10.1.0.1/16"));
  await commit((tx) => deleteNetwork(tx, one), owner);
  assert.ok(kernel.state.has("link|host|br0"));
  assert.ok(!kernel.state.has("address|host|br0|10.1.0.1/16"));
});

it("switches IPv6 forwarding on with the first network that has IPv6", async () => {
  const key = "net.ipv6.conf.all.forwarding";
  assert.equal(kernel.sysctl("host", "net.ipv4.ip_forward"), "1");
  await commit((tx) => putNetwork(tx, one), owner);
  assert.equal(kernel.sysctl("host", key), "0");
  await commit((tx) => putNetwork(tx, two), owner);
  assert.equal(kernel.sysctl("host", key), "1");
});

it("raises limits of the kernel as containers come, and lowers none", async () => {
  const [low, high] = ["net.ipv4.neigh.default.gc_thresh3", "net.core.netdev_max_backlog"];
  const limits = () => [low, high].map((key) => Number(kernel.sysctl("host", key)));
  assert.deepEqual(limits(), [65_536, 8192]);
  kernel.sysctl("host", high, "1000000");
  const crowd = (from: number, to: number) => (tx: Transaction) => {
    for (let member = from; member <= to; member += 1) tx.put("endpoints", endpointRow(one, { member }));
  };
  await commit(crowd(2, 1001), "host");
  assert.deepEqual(limits(), [65_536, 1_000_000]);
  await commit(crowd(1002, 1002), "host");
  assert.deepEqual(limits(), [131_072, 1_000_000]);
  await assertClean();
  await commit((tx) => tx.delete("endpoints", endpointRow(one, { member: 2 }).id), "host");
  assert.deepEqual(limits(), [131_072, 1_000_000], "what was raised stays");
  await assertClean();
});

it("sets a sandbox's sysctls before it has an interface", async () => {
  await commit((tx) => {
    twoContainers(tx);
    tx.put("sandboxes", sandboxRow(2, endpointRow(one, { member: 2 }), { "net.ipv4.ip_default_ttl": "42" }));
  }, owner);
  const keys = applied.flat().map(({ object }) => (object.kind === "sysctl" ? object.key : object.kind));
  assert.ok(keys.indexOf("net.ipv4.ip_default_ttl") < keys.indexOf("link"));
});

const bridgeName = `br-${one.network.id.slice(0, 12)}`;
const cable = `veth${idOf("e", 0x10002).slice(0, 11)}`;
const toChain = `to_${one.network.id.slice(0, 12)}`;
const element = { kind: "element", namespace: "host", family: "ip", set: "published" } as const;
const disturbances: Readonly<Record<string, (kernel: FakeKernel) => void>> = {
  "a flushed ruleset": (k) => k.flushRules(),
  "a flushed ruleset of a network": (k) => k.flushRules(`network:${wide.network.id}`),
  "a strange port on a network": (k) =>
    k.disturb({
      ...element,
      namespace: `network:${wide.network.id}`,
      family: "bridge",
      set: "taken",
      key: "10.3.0.77",
    }),
  "a deleted bridge": (k) => k.lose(`link|host|${bridgeName}`),
  "a deleted cable": (k) => k.lose(`link|host|${cable}`),
  "a lost address": (k) => k.lose(`address|host|${bridgeName}|10.1.0.1/16`),
  "a lost neighbour": (k) => k.lose(`neighbour|host|${bridgeName}|10.1.0.2`),
  "a lost forwarding entry": (k) => k.lose(`forwarding|host|${cable}|02:42:ac:01:00:02`),
  "a strange published port": (k) => k.disturb({ ...element, key: "tcp . 1", value: "10.1.0.2 . 1" }),
  "an altered chain": (k) => k.disturb({ kind: "chain", namespace: "host", family: "ip", name: toChain, rules: [] }),
  "forwarding switched off": (k) => {
    k.sysctl("host", "net.ipv4.ip_forward", "0");
    k.emit({ kind: "sysctl", namespace: "host", name: "net.ipv4.conf.all.forwarding" });
  },
};

it("puts right within a second whatever was changed", async () => {
  await commit((tx) => {
    twoContainers(tx);
    putNetwork(tx, wide);
    putContainer(tx, wide, { member: 9 });
  }, owner);
  const cases = Object.entries(disturbances).map(async ([name, disturb]) => {
    const own = createFakeKernel();
    const mine = open(own);
    await mine.start();
    await new Promise((resolve) => setTimeout(resolve, 20));
    disturb(own);
    assert.notDeepEqual(await mine.audit(), [], name);
    await until(async () => (await mine.audit()).length === 0, name);
    await mine.stop();
  });
  await Promise.all(cases);
});

it("reads little because of its own steps", async () => {
  let lists = 0;
  const list = kernel.list.bind(kernel);
  await commit((tx) => putNetwork(tx, one), owner);
  kernel.list = (...args) => {
    lists += 1;
    return list(...args);
  };
  for (let member = 2; member < 22; member++) {
    await commit((tx) => putContainer(tx, one, { member }), owner);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(lists <= 7, `${lists} readings while 20 endpoints were made`);
});

it("does not answer any more after it was stopped", async () => {
  const waiting = dataplane.settled(owner, 7);
  await dataplane.stop();
  await assert.rejects(waiting, /stopped/);
  await assert.rejects(dataplane.settled(owner, 0), /stopped/);
});

it("stops waiting when the caller goes away", async () => {
  const end = new AbortController();
  const waiting = dataplane.settled(owner, 7, end.signal);
  end.abort(new Error("gone"));
  await assert.rejects(waiting, /gone/);
});
