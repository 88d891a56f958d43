import assert from "node:assert/strict";
import { it } from "node:test";
import { addressOf, client, farClient, hostAddress, Mesh, type Spot } from "../support/mesh.ts";
import {
  bridgeChanges,
  endpointId,
  entryMember,
  overlayOn,
  portOf,
  serviceId,
  taskKey,
  virtualChange,
} from "../support/mesh-rows.ts";
import { soon, until } from "../support/until.ts";

const port = 8080;
const ports = (["tcp", "udp"] as const).map((protocol) => portOf(port, 80, protocol));
const [first, second] = [11, 12];

/** Three hosts, with a task on the first two of them. */
async function published(): Promise<Mesh> {
  const mesh = await Mesh.open(3);
  await mesh.commit(virtualChange(1, "ingress", { ports }));
  await mesh.addTask(1, 1, first, "ingress", 80);
  await mesh.addTask(1, 2, second, "ingress", 80);
  return mesh;
}
/** What both tasks say to somebody. */
const both = (source: string) => [first, second].map((task) => `task${task} ${source}`);

it("leads a published port of every host to tasks, which see who asks", async () => {
  await using mesh = await published();
  await mesh.addContainer(1, 21, ["shop"]);
  await mesh.host(1).commit(bridgeChanges(22));
  for (const host of [1, 2, 3])
    for (const six of [false, true]) {
      const address = hostAddress(host, six);
      const other = (host % 3) + 1;
      const entry = addressOf("ingress", entryMember(host), six);
      const origins: readonly (readonly [from: Spot, to: string, seen: string, source?: string])[] = [
        ["outside", address, six ? client.ip6 : client.ip, six ? client.ip6 : client.ip],
        [{ host: other }, address, hostAddress(other, six)],
        [{ host }, address, address],
        ...(six ? [] : ([[{ host }, "127.0.0.1", entry]] as const)),
        // Addresses that mean somebody on one host alone: of the bridge for the way out, and of another one.
        ...(host === 1 ? [21, 22].map((sandbox) => [{ host, sandbox }, address, entry] as const) : []),
      ];
      for (const [from, to, seen, source] of origins)
        for (const protocol of ["tcp", "udp"] as const) {
          const asking = { count: 12, protocol, ...(source !== undefined && { source }) };
          const counts = await mesh.ask(from, to, port, asking);
          assert.deepEqual(
            Object.keys(counts).toSorted(),
            both(seen),
            `${protocol} from ${JSON.stringify(from)} to ${to}`,
          );
        }
    }
  await mesh.assertClean();
});

it("has a client at the same task by source, whichever host it asks, and hides it where the service wants that", async () => {
  await using mesh = await published();
  await mesh.commit(virtualChange(1, "ingress", { ports, balance: { by: "source", local: false } }));
  const seen = new Set<string>();
  for (const host of [1, 2, 3])
    for (const answer of Object.keys(
      await mesh.ask("outside", hostAddress(host), port, { count: 10, source: client.ip }),
    ))
      seen.add(answer);
  assert.equal(seen.size, 1, [...seen].join());
  await mesh.commit(virtualChange(1, "ingress", { ports, keepsClient: false }));
  for (const six of [false, true])
    for (const protocol of ["tcp", "udp"] as const) {
      const counts = await mesh.ask("outside", hostAddress(3, six), port, { count: 12, protocol });
      assert.deepEqual(Object.keys(counts).toSorted(), both(addressOf("ingress", entryMember(3), six)));
    }
  await mesh.assertClean();
});

it("keeps apart what a client asks several hosts from one port, though one task gets it all", async () => {
  await using mesh = await published();
  await mesh.commit(virtualChange(1, "ingress", { ports, balance: { by: "source", local: false } }));
  for (const source of [client.ip, client.ip6]) {
    const wishes = [1, 2, 3].map((host) => ({
      ...({
        protocol: "tcp",
        port,
        source,
        sourcePort: 40_000,
        address: hostAddress(host, source === client.ip6),
      } as const),
    }));
    const flows = [];
    for (const wish of wishes) flows.push(await mesh.flow("outside", wish));
    assert.equal(new Set(flows.map(([, answer]) => answer)).size, 1, JSON.stringify(flows.map(([, answer]) => answer)));
    assert.match(flows[0]?.[1] ?? "", new RegExp(` ${source}$`));
    for (const [at, [flow]] of flows.entries()) assert.equal(await flow.say(`flow ${at}`), `flow ${at}`);
  }
  await mesh.assertClean();
});

it("tells a task of a link on the client's way that carries less", async () => {
  await using mesh = await published();
  for (const source of [farClient.ip, farClient.ip6]) {
    const six = source.includes(":");
    const [, said] = await mesh.flow("far", { protocol: "tcp", address: hostAddress(3, six), port, source });
    const task = said.startsWith(`task${first}`) ? { host: 1, sandbox: first } : { host: 2, sandbox: second };
    const way = () =>
      mesh.run(task, "ip", "route", "get", source, "from", addressOf("ingress", task.sandbox, six), "oif", "eth0");
    assert.doesNotMatch(way(), /mtu 1300/);
    // The client's own word on what it takes is not what makes the difference: it says what its link carries.
    mesh.run("far", "ip", "link", "set", "narrow", "mtu", "1500");
    const [wide, again] = await mesh.flow("far", { protocol: "tcp", address: hostAddress(3, six), port, source });
    const other = again.startsWith(`task${first}`) ? { host: 1, sandbox: first } : { host: 2, sandbox: second };
    assert.match(await wide.say("much"), /^\d+ bytes$/);
    const learned = mesh.run(
      other,
      "ip",
      "route",
      "get",
      source,
      "from",
      addressOf("ingress", other.sandbox, six),
      "oif",
      "eth0",
    );
    assert.match(learned, /mtu 1300/);
    mesh.run("far", "ip", "link", "set", "narrow", "mtu", "1300");
  }
});

it("keeps connections of a task that gets no new ones, and sends datagrams elsewhere when it is gone", async () => {
  await using mesh = await published();
  const to = { address: hostAddress(3), port, source: client.ip };
  const flows = await Promise.all([1, 2, 3, 4].map(() => mesh.flow("outside", { protocol: "tcp", ...to })));
  const [found] = flows.filter(([, said]) => said.startsWith(`task${second}`));
  assert.ok(found);
  const datagrams = await Promise.all(
    [1, 2, 3, 4].map(() => mesh.flow("outside", { protocol: "udp", ...to, patience: 1000 })),
  );
  const said = await Promise.all(datagrams.map(([flow]) => flow.say("hello")));
  const moved = datagrams[said.findIndex((text) => text.startsWith(`task${second}`))];
  assert.ok(moved, said.join());
  await mesh.commit(["backends", taskKey(second, "ingress")]);
  assert.equal(await found[0].say("still there"), "still there");
  assert.deepEqual(Object.keys(await mesh.ask("outside", hostAddress(3), port, { count: 10, source: client.ip })), [
    `task${first} ${client.ip}`,
  ]);
  // Its host is lost: nobody there can end a connection.
  mesh.run({ host: 2 }, "ip", "link", "set", "uplink", "down");
  for (const host of [1, 3]) await mesh.host(host).commit([["peers", endpointId(second, "ingress")]]);
  assert.match(await found[0].say("and now"), /ECONNRESET|EPIPE/);
  await until(async () => (await moved[0].say("hello")) === `task${first} ${client.ip}`, "they go elsewhere", soon);
});

it("refuses at once where no task is", async () => {
  await using mesh = await Mesh.open(1);
  await mesh.commit(virtualChange(1, "ingress", { ports }));
  for (const six of [false, true])
    for (const protocol of ["tcp", "udp"] as const)
      assert.deepEqual(await mesh.ask("outside", hostAddress(1, six), port, { protocol }), { ECONNREFUSED: 1 });
  await mesh.assertClean();
});

it("touches nothing at a restart, and connections live on", async () => {
  await using mesh = await published();
  const [flow] = await mesh.flow("outside", { protocol: "tcp", address: hostAddress(3), port, source: client.ip });
  for (const host of mesh.hosts) assert.deepEqual(await host.restart(), [], `host ${host.number}`);
  assert.equal(await flow.say("still there"), "still there");
  await mesh.assertClean();
});

it("is there again after all rules of a host, or of its ingress sandbox, were flushed", async () => {
  await using mesh = await published();
  const isThere = async (host: number) =>
    Object.keys(await mesh.ask("outside", hostAddress(host), port, { source: client.ip }))[0]?.startsWith("task") ===
    true;
  for (const spot of [{ host: 3 }, { host: 3, sandbox: "ingress" }, { host: 1, sandbox: "ingress" }] as const) {
    mesh.run(spot, "nft", "flush", "ruleset");
    await until(async () => (await mesh.host(spot.host).audit()).length === 0, "the rules are back", soon);
    assert.ok(await isThere(spot.host));
  }
  await mesh.assertClean();
});

it("leaves nothing when a service goes, and when the host leaves", async () => {
  await using mesh = await published();
  const network = overlayOn(1, "ingress").network.id;
  const map = () => mesh.run({ host: 3 }, "nft", "list", "map", "ip", "tombolo", "published");
  assert.match(map(), /tcp \. 8080/);
  await mesh.commit(["virtualServices", `${serviceId(1)}|${network}`]);
  assert.doesNotMatch(map(), /8080/);
  await mesh.assertClean();
  await mesh.commit(virtualChange(1, "ingress", { ports }));
  await mesh.host(3).commit([
    ["endpoints", endpointId(entryMember(3), "ingress")],
    ["endpoints", endpointId(2, "gateway")],
    ["sandboxes", "ingress_sbox"],
  ]);
  assert.doesNotMatch(map(), /8080/);
  await mesh.assertClean();
});
