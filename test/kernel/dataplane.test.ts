import assert from "node:assert/strict";
import { it } from "node:test";
import { addresses, RealHost } from "../support/real-host.ts";
import { deleteContainer, deleteNetwork, endpointRow, networkRows, putContainer, putNetwork } from "../support/rows.ts";
import { soon, until } from "../support/until.ts";

const rows = networkRows({ number: 1, ipv6: true });
const bridge = `br-${rows.network.id.slice(0, 12)}`;
const cable = `veth${endpointRow(rows, { member: 2 }).id.slice(0, 11)}`;
const ports = [{ protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 }] as const;

/** One network with containers 2 and 3, of which 2 publishes a port. */
async function populated(): Promise<RealHost> {
  const host = await RealHost.open();
  await host.commit((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2, ports });
    putContainer(tx, rows, { member: 3 });
  });
  host.serve(2, 80);
  host.serve("outside", 80);
  return host;
}
/** Everything that the network is for. */
async function assertServes(host: RealHost, after: string): Promise<void> {
  const answers = await Promise.all([
    host.ask("outside", addresses.host, 8080),
    host.ask(3, "10.1.0.2", 80),
    host.ask(3, "fd00:1::2", 80),
    host.ask(3, addresses.outside, 80),
    host.ask(3, addresses.outside6, 80),
  ]);
  const expected = [addresses.outside, "10.1.0.3", "fd00:1::3", addresses.host, addresses.host6];
  assert.deepEqual(answers, expected, `after ${after}`);
}
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** In groups: who changes more than ten things in ten seconds is put right more slowly. */
const disturbances: Readonly<Record<string, readonly string[]>> = {
  rules: [
    "nft flush ruleset",
    "nft delete table ip tombolo",
    "nft delete table ip6 tombolo",
    "nft flush map ip tombolo published",
    "nft add element ip tombolo published { tcp . 9 : 10.1.0.2 . 9 }",
    "sysctl -qw net.ipv4.ip_forward=0",
    "sysctl -qw net.ipv6.conf.all.forwarding=0",
    "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
  ],
  "a bridge": [
    `ip link del ${bridge}`,
    `ip link set ${bridge} down`,
    `ip addr flush dev ${bridge}`,
    `ip neigh flush dev ${bridge} nud permanent`,
    `ip link set ${bridge} address 02:00:00:00:00:77`,
    `ip link set ${bridge} mtu 1280`,
  ],
  "a cable": [
    `ip link del ${cable}`,
    `ip link set ${cable} nomaster`,
    `ip link set ${cable} down`,
    `ip link set ${cable} type bridge_slave isolated on`,
    `bridge fdb del 02:42:ac:01:00:02 dev ${cable} master`,
  ],
};

for (const [what, commands] of Object.entries(disturbances))
  it(`puts right within a second what others change of ${what}`, async (t) => {
    await using host = await populated();
    await assertServes(host, "the start");
    for (const command of commands) {
      // Else it comes in the shadow of our own repair.
      await pause(250);
      const [program = "", ...args] = command.split(" ");
      host.run("host", program, ...args);
      assert.notDeepEqual(await host.dataplane.audit(), [], command);
      t.diagnostic(`${command}: ${Math.round(await host.repaired(command))} ms`);
    }
    await assertServes(host, what);
  });

it("mends the chains and maps that are there from the start", async () => {
  await using host = await populated();
  const text = () => host.run("host", "nft", "list table ip tombolo");
  const before = text();
  for (const damage of [
    "flush chain ip tombolo forward",
    "add rule ip tombolo guard accept",
    "delete rule ip tombolo postrouting handle HANDLE",
  ]) {
    await pause(250);
    const handle = /saddr vmap @leaving # handle (\d+)/.exec(
      host.run("host", "nft", "-a", "list chain ip tombolo postrouting"),
    );
    host.run("host", "nft", damage.replace("HANDLE", handle?.[1] ?? ""));
    assert.notEqual(text(), before);
    await until(() => text() === before, damage, soon);
  }
  await assertServes(host, "damage to the base");
});

it("does nothing at all after a restart", async () => {
  await using host = await populated();
  await host.restart();
  assert.deepEqual(host.steps, []);
  await assertServes(host, "a restart");
  await host.assertClean();
});

it("carries on after a restart with what changed meanwhile", async () => {
  await using host = await populated();
  await host.restart((tx) => {
    deleteContainer(tx, endpointRow(rows, { member: 3 }));
    putContainer(tx, rows, { member: 4 });
  });
  await host.assertClean();
  assert.equal(host.kernel.namespaces().length, 2);
  assert.ok(await host.pings(4, "10.1.0.2"));
});

it("sweeps everything, and touches nothing that is not its own", async () => {
  await using host = await populated();
  host.run("host", "ip", "link", "add", "br-foreign", "up", "type", "bridge");
  host.run("host", "ip", "address", "add", "10.99.0.1/24", "dev", "br-foreign");
  host.run("host", "nft", "add table ip foreign");
  const foreign = () => host.run("host", "ip", "-o", "address", "show", "dev", "br-foreign");
  const before = foreign();
  await host.restart((tx) => {
    for (const endpoint of tx.list("endpoints")) deleteContainer(tx, endpoint);
    deleteNetwork(tx, rows);
  });
  await host.assertClean();
  assert.deepEqual(host.kernel.namespaces(), []);
  assert.equal(
    host
      .run("host", "ip", "-o", "link", "show", "type", "bridge")
      .match(/br-\w+/g)
      ?.join(),
    "br-foreign",
  );
  assert.equal(foreign(), before);
  assert.match(host.run("host", "nft", "list tables"), /table ip foreign/);
});

it("uses a bridge that somebody else made, and leaves it", async () => {
  await using host = await RealHost.open();
  host.run("host", "ip", "link", "add", "br-mine", "up", "type", "bridge");
  const mine = networkRows({ number: 2, options: { "com.docker.network.bridge.name": "br-mine" } });
  await host.commit((tx) => {
    putNetwork(tx, mine);
    putContainer(tx, mine, { member: 2 });
    putContainer(tx, mine, { member: 3 });
  });
  assert.ok(await host.pings(2, "10.2.0.3"));
  await host.assertClean();
  await host.restart();
  // It carries no mark, so it is asked for again.
  assert.deepEqual(
    host.steps.map(({ verb, object }) => [verb, object.kind]),
    [
      ["create", "link"],
      ["create", "address"],
    ],
  );
  assert.ok(await host.pings(2, "10.2.0.3"));
  await host.commit((tx) => {
    for (const endpoint of tx.list("endpoints")) deleteContainer(tx, endpoint);
    deleteNetwork(tx, mine);
  });
  await host.assertClean();
  assert.match(host.run("host", "ip", "-o", "link", "show", "dev", "br-mine"), /UP/);
  assert.doesNotMatch(host.run("host", "ip", "-o", "address", "show", "dev", "br-mine"), /10\.2\.0\.1/);
});

it("keeps trying what the kernel refuses, and gets it when the obstacle goes", async () => {
  await using host = await RealHost.open();
  host.run("host", "ip", "link", "add", bridge, "type", "veth", "peer", "name", "other");
  await assert.rejects(
    host.commit((tx) => putNetwork(tx, rows)),
    { code: "EEXIST" },
  );
  host.run("host", "ip", "link", "del", bridge);
  await host.repaired("the obstacle was taken away");
  assert.equal(host.dataplane.errorOf(`network:${rows.network.id}`), undefined);
});

it("swaps the addresses and ports of two containers in one commit", async () => {
  await using host = await populated();
  host.serve(3, 80);
  const [two, three] = [endpointRow(rows, { member: 2 }), endpointRow(rows, { member: 3, ports })];
  await host.commit((tx) => {
    tx.put("endpoints", { ...two, addresses: three.addresses });
    tx.put("endpoints", { ...three, addresses: two.addresses });
  });
  await host.assertClean();
  assert.match(host.run(3, "ip", "-4", "-o", "address", "show", "dev", "eth0"), /10\.1\.0\.2\//);
  assert.equal(await host.ask(2, "10.1.0.2", 80), "10.1.0.3");
  assert.equal(await host.ask("outside", addresses.host, 8080), addresses.outside);
});

it("connects the 200th container as fast as the first, and finds all after a restart", async (t) => {
  await using host = await RealHost.open();
  const plain = networkRows({ number: 3 });
  await host.commit((tx) => putNetwork(tx, plain));
  const times: number[] = [];
  for (let member = 2; member < 202; member++) {
    const start = performance.now();
    const { result, revision } = await host.store.update((tx) => putContainer(tx, plain, { member }));
    await host.dataplane.settled(`endpoint:${result.id}`, revision);
    times.push(performance.now() - start);
  }
  const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
  const [first, last] = [median(times.slice(0, 20)), median(times.slice(-20))];
  t.diagnostic(`median of the first 20: ${first.toFixed(1)} ms, of the last 20: ${last.toFixed(1)} ms`);
  assert.ok(last < 3 * first + 5, `${first} ms, later ${last} ms`);
  assert.ok(await host.pings(2, "10.3.0.201"));
  await host.restart();
  assert.deepEqual(host.steps, []);
  host.run("host", "ip", "link", "del", `br-${plain.network.id.slice(0, 12)}`);
  await host.repaired("the bridge of 200 containers went");
  assert.ok(await host.pings(201, "10.3.0.2"));
});
