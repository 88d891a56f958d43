import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { addressOf, Mesh, type Spot } from "../support/mesh.ts";
import {
  backendChange,
  endpointId,
  overlayOn,
  serviceId,
  shortId,
  taskKey,
  virtualChange,
  virtualMember,
} from "../support/mesh-rows.ts";
import { idOf } from "../support/rows.ts";
import { soon, until } from "../support/until.ts";

const virtual = (service: number, six = false) => addressOf("shop", virtualMember + service, six);
const port = 80;
/** Container 21 of host 1 asks. */
const asker: Spot = { host: 1, sandbox: 21 };

/** Service 1 has tasks with these numbers: on hosts 1, 2, 1, 2 … */
async function shop(tasks: readonly number[], hosts = 2): Promise<Mesh> {
  const mesh = await Mesh.open(hosts);
  await mesh.commit(virtualChange(1, "shop"));
  for (const [index, member] of tasks.entries()) await mesh.addTask(1, (index % hosts) + 1, member, "shop", port);
  await mesh.addContainer(1, 21, ["shop"]);
  return mesh;
}
/** The task is gone from its host, and the others are told. */
async function lose(mesh: Mesh, host: number, member: number): Promise<void> {
  const id = endpointId(member, "shop");
  const gone = [["backends", taskKey(member, "shop")]] as const;
  await mesh
    .host(host)
    .commit([
      ...gone,
      ["endpoints", id],
      ["endpoints", endpointId(member, "gateway")],
      ["sandboxes", idOf("5", member)],
    ]);
  for (const other of mesh.hosts) if (other.number !== host) await other.commit([...gone, ["peers", id]]);
}

it("shares out 10,000 connections over five tasks of three hosts evenly, which see who asks", async () => {
  await using mesh = await shop([11, 12, 13, 14, 15], 3);
  for (const six of [false, true]) {
    const counts = await mesh.ask(asker, virtual(1, six), port, { count: six ? 1000 : 10_000 });
    const seen = [11, 12, 13, 14, 15].map((task) => `task${task} ${addressOf("shop", 21, six)}`);
    assert.deepEqual(Object.keys(counts).toSorted(), seen);
    const share = six ? 200 : 2000;
    for (const count of Object.values(counts))
      assert.ok(Math.abs(count - share) <= share * 0.05, JSON.stringify(counts));
    const datagrams = await mesh.ask(asker, virtual(1, six), port, { count: 100, protocol: "udp" });
    assert.deepEqual(Object.keys(datagrams).toSorted(), seen);
  }
  // A task that asks its own service may get itself.
  const own = await mesh.ask({ host: 1, sandbox: 11 }, virtual(1), port, { count: 20 });
  assert.deepEqual(
    Object.keys(own).toSorted(),
    [11, 12, 13, 14, 15].map((task) => `task${task} ${addressOf("shop", 11)}`),
  );
  await mesh.assertClean();
});

it("refuses at once where no task is, and has one from the moment it is there", async () => {
  await using mesh = await shop([]);
  for (const protocol of ["tcp", "udp"] as const)
    assert.deepEqual(await mesh.ask(asker, virtual(1), port, { protocol }), { ECONNREFUSED: 1 });
  const [flow] = await mesh.flow(asker, { protocol: "udp", address: virtual(1), port });
  assert.equal(await flow.say("hello"), "ECONNREFUSED");
  await mesh.addTask(1, 2, 12, "shop", port);
  assert.equal(await flow.say("hello"), `task12 ${addressOf("shop", 21)}`);
  await mesh.assertClean();
});

it("sends a client always to the same task by source, and to tasks of the own host where they come first", async () => {
  await using mesh = await shop([11, 12, 13, 14]);
  await mesh.commit(virtualChange(1, "shop", { balance: { by: "source", local: false } }));
  assert.equal(Object.keys(await mesh.ask(asker, virtual(1), port, { count: 50 })).length, 1);
  await mesh.commit(virtualChange(1, "shop", { balance: { by: "rr", local: true } }));
  const seen = Object.keys(await mesh.ask(asker, virtual(1), port, { count: 50 }));
  assert.deepEqual(
    seen.toSorted(),
    [11, 13].map((task) => `task${task} ${addressOf("shop", 21)}`),
  );
  await mesh.commit(virtualChange(1, "shop", { balance: { by: "random", local: false } }));
  assert.equal(Object.keys(await mesh.ask(asker, virtual(1), port, { count: 100 })).length, 4);
  await mesh.assertClean();
});

it("lets a task that gets no new connections keep those it has, and resets them when it is gone", async () => {
  await using mesh = await shop([11, 12]);
  const flows = await Promise.all(
    [0, 1, 2, 3].map(() => mesh.flow(asker, { protocol: "tcp", address: virtual(1), port })),
  );
  const [found] = flows.filter(([, first]) => first.startsWith("task12"));
  const [other] = flows.filter(([, first]) => first.startsWith("task11"));
  assert.ok(found && other, JSON.stringify(flows.map(([, first]) => first)));
  await mesh.commit(["backends", taskKey(12, "shop")]);
  assert.deepEqual(Object.keys(await mesh.ask(asker, virtual(1), port, { count: 20 })), [
    `task11 ${addressOf("shop", 21)}`,
  ]);
  assert.equal(await found[0].say("still there"), "still there");
  // Its host is lost without a word: nobody on it can end the connection.
  mesh.run({ host: 2 }, "ip", "link", "set", "uplink", "down");
  await mesh.host(1).commit([["peers", endpointId(12, "shop")]]);
  assert.match(await found[0].say("and now"), /ECONNRESET|EPIPE/);
  assert.equal(await other[0].say("still there"), "still there");
});

it("forgets a connection in which nothing is said for as long as the service allows", async () => {
  await using mesh = await shop([11]);
  await mesh.commit(virtualChange(1, "shop", { idle: 2000 }));
  const open = () => mesh.flow(asker, { protocol: "tcp", address: virtual(1), port });
  const [[silent], [lively]] = [await open(), await open()];
  await mesh.addTask(1, 2, 12, "shop", port);
  await mesh.commit(["backends", taskKey(11, "shop")]);
  for (let count = 0; count < 16; count += 1) {
    await sleep(250);
    assert.equal(await lively.say("still there"), "still there");
  }
  assert.match(await silent.say("still there"), /ECONNRESET|EPIPE/);
  await mesh.assertClean();
});

it("sends a client's datagrams to another task within a second when theirs is gone", async () => {
  await using mesh = await shop([11, 12]);
  const [flow] = await mesh.flow(asker, { protocol: "udp", address: virtual(1), port, patience: 1000 });
  const first = await flow.say("hello");
  const member = first.startsWith("task11") ? 11 : 12;
  assert.equal(await flow.say("again"), first, "a flow stays where it is");
  await lose(mesh, member === 11 ? 1 : 2, member);
  let answer = "";
  await until(async () => (answer = await flow.say("hello")) !== "silence", "somebody answers", soon);
  assert.equal(answer, `task${23 - member} ${addressOf("shop", 21)}`);
  await mesh.assertClean();
});

it("gives up what a task's node cannot answer any more when that is down, though its row is there", async () => {
  await using mesh = await shop([11, 12]);
  await mesh.commit(["backends", taskKey(11, "shop")]);
  const [stream] = await mesh.flow(asker, { protocol: "tcp", address: virtual(1), port });
  const [datagrams] = await mesh.flow(asker, { protocol: "udp", address: virtual(1), port });
  assert.equal(await datagrams.say("hello"), `task12 ${addressOf("shop", 21)}`);
  mesh.run({ host: 2 }, "ip", "link", "set", "uplink", "down");
  await mesh.host(1).commit([backendChange(1, 11, 1, "shop"), backendChange(1, 12, 2, "shop", { isLost: true })]);
  assert.match(await stream.say("hello"), /ECONNRESET|EPIPE/);
  assert.equal(await datagrams.say("hello"), `task11 ${addressOf("shop", 21)}`);
});

it("keeps connections over a restart of the data plane, which touches nothing, and forgets those of tasks that went meanwhile", async () => {
  await using mesh = await shop([11, 12]);
  const flows = await Promise.all(
    [0, 1, 2, 3].map(() => mesh.flow(asker, { protocol: "tcp", address: virtual(1), port })),
  );
  for (const host of mesh.hosts) assert.deepEqual(await host.restart(), []);
  for (const [flow] of flows) assert.equal(await flow.say("still there"), "still there");
  mesh.run({ host: 2 }, "ip", "link", "set", "uplink", "down");
  await mesh.host(1).restart([
    ["backends", taskKey(12, "shop")],
    ["peers", endpointId(12, "shop")],
  ]);
  for (const [flow, first] of flows)
    if (first.startsWith("task11")) assert.equal(await flow.say("still there"), "still there");
    else assert.match(await flow.say("and now"), /ECONNRESET|EPIPE/);
});

it("changes with a task what belongs to its service, in the sandboxes that see it", async () => {
  await using mesh = await shop([11, 12]);
  await mesh.addContainer(1, 22, ["shop"]);
  await mesh.addContainer(2, 23, []);
  const many = Array.from({ length: 1000 }, (_, i) => 2 + i);
  const one = await mesh.host(1).commit([backendChange(1, 21, 1, "shop")]);
  await mesh.host(1).commit([["backends", taskKey(21, "shop")]]);
  await mesh.host(1).commit(
    many.map((number) => {
      const [table, row] = virtualChange(number, "shop");
      return [table, { ...(row as object), addresses: [`10.2.${10 + (number >> 8)}.${number & 0xff}`] }] as never;
    }),
  );
  const again = await mesh.host(1).commit([backendChange(1, 21, 1, "shop")]);
  assert.deepEqual(again, one, "the same with a thousand services more");
  const sandboxes = new Set(again.map((step) => /sandbox:\w+/.exec(step)?.[0]));
  assert.deepEqual(sandboxes, new Set([11, 21, 22].map((member) => `sandbox:${idOf("5", member)}`)));
  for (const step of again) assert.ok(step.includes(virtual(1)) || step.includes(virtual(1, true)), step);
  await mesh.assertClean();
});

it("leaves nothing when a service, a client or a network goes", async () => {
  await using mesh = await shop([11]);
  const network = overlayOn(1, "shop").network.id;
  const before = mesh.run(asker, "nft", "list", "map", "ip", "tombolo", "services");
  assert.match(before, /10\.2\.0\.201/);
  await mesh.commit(["virtualServices", `${serviceId(1)}|${network}`], ["backends", `${shortId("c", 11)}|${network}`]);
  for (const map of ["services", "members"])
    assert.doesNotMatch(mesh.run(asker, "nft", "list", "map", "ip", "tombolo", map), /elements/);
  await mesh.assertClean();
});
