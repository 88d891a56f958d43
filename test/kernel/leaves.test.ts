import assert from "node:assert/strict";
import { it } from "node:test";
import type { PortBinding } from "../../src/model/endpoint.ts";
import { addresses, RealHost } from "../support/real-host.ts";
import {
  deleteContainer,
  endpointRow,
  type NetworkRows,
  networkRows,
  putContainer,
  putNetwork,
} from "../support/rows.ts";

const icc = "com.docker.network.bridge.enable_icc";
/** Container 2 on the root, 3 and 4 on the first leaf bridge, 5 on the second. */
const members = [{ member: 2 }, { member: 3, leaf: 1 }, { member: 4, leaf: 1 }, { member: 5, leaf: 2 }] as const;
const numbers = members.map(({ member }) => member);
const pairs = numbers.flatMap((from) => numbers.filter((to) => to !== from).map((to) => [from, to] as const));
const four = (member: number) => `10.1.0.${member}`;
const six = (member: number) => `fd00:1::${member}`;
const published: PortBinding = { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 };

async function populate(host: RealHost, rows: NetworkRows): Promise<void> {
  await host.commit((tx) => {
    putNetwork(tx, rows);
    for (const wish of members) putContainer(tx, rows, { ...wish, ports: wish.member === 5 ? [published] : [] });
  });
  for (const member of numbers) host.serve(member, 80);
}

/** What the servers of all containers saw of all others, one line a pair and family. */
const answers = (host: RealHost, isAnswered = true): Promise<string[]> =>
  Promise.all(
    pairs.flatMap(([from, to]) =>
      [four, six].map(
        async (address) => `${from} to ${address(to)}: ${await host.ask(from, address(to), 80, isAnswered)}`,
      ),
    ),
  );
const expected = (seen: (from: string) => string) =>
  pairs.flatMap(([from, to]) => [four, six].map((address) => `${from} to ${address(to)}: ${seen(address(from))}`));

/** ARP requests to everybody that come to a container, from now on: who has an answer asks for it again, and nobody else. */
function requests(host: RealHost, member: number): () => number {
  for (const rule of [
    "add table arp t",
    "add chain arp t c { type filter hook input priority 0; }",
    "add rule arp t c meta pkttype broadcast arp operation request counter",
  ])
    host.run(member, "nft", rule);
  return () => Number(/packets (\d+)/.exec(host.run(member, "nft", "list table arp t"))?.[1]);
}

for (const driver of ["bridge", "overlay"])
  it(`${driver}: connects containers on the root and on leaf bridges, and floods no question`, async () => {
    await using host = await RealHost.open();
    const tunnel = { udpPort: 4789, local: addresses.host, mtu: 1450 };
    await populate(
      host,
      networkRows({ number: 1, driver, ipv6: true, ...(driver === "overlay" && { vni: 4097, tunnel }) }),
    );
    const heard = numbers.map((member) => requests(host, member));
    assert.deepEqual(
      await answers(host),
      expected((from) => from),
    );
    assert.deepEqual(
      heard.map((count) => count()),
      [0, 0, 0, 0],
    );
    await host.assertClean();
  });

it("bridge: reaches the world and is reached on a leaf bridge as on the root", async () => {
  await using host = await RealHost.open();
  await populate(host, networkRows({ number: 1, ipv6: true }));
  host.serve("outside", 80);
  for (const member of numbers) {
    assert.equal(await host.ask(member, addresses.outside, 80), addresses.host);
    assert.equal(await host.ask(member, addresses.outside6, 80), addresses.host6);
    assert.equal(await host.ask("host", four(member), 80), four(1));
    assert.equal(await host.ask("host", six(member), 80), six(1));
    assert.equal(await host.ask(member, addresses.host, 8080), four(1));
  }
  assert.equal(await host.ask("outside", addresses.host, 8080), addresses.outside);
  assert.equal(await host.ask("outside", four(5), 80, false), "");
});

it("bridge: keeps containers apart with enable_icc=false, whatever bridge they are on", async () => {
  await using host = await RealHost.open();
  await populate(host, networkRows({ number: 1, ipv6: true, options: { [icc]: "false" } }));
  host.serve("outside", 80);
  assert.deepEqual(
    await answers(host, false),
    expected(() => ""),
  );
  for (const member of numbers) {
    assert.ok(await host.pings(member, four(1)), "the gateway");
    assert.ok(await host.pings(member, six(1)), "the gateway");
    assert.equal(await host.ask(member, addresses.outside, 80), addresses.host);
    assert.equal(await host.ask(member, addresses.host, 8080), four(1));
  }
  await host.assertClean();
});

it("bridge: lets no container past the rules of its network by the leaf bridge's own MAC", async () => {
  await using host = await RealHost.open();
  await populate(host, networkRows({ number: 1, internal: true }));
  const bridge = "lf1-a000000001";
  const mac = host.kernel.link("host", bridge)?.mac ?? "";
  const foreign = "172.31.9.9"; // of no network of ours
  for (const rule of [
    "add table ip t",
    "add chain ip t c { type filter hook input priority 0; }",
    `add rule ip t c ip saddr ${foreign} counter`,
  ])
    host.run("outside", "nft", rule);
  host.run(3, "ip", "address", "add", `${foreign}/32`, "dev", "eth0");
  host.run(3, "ip", "route", "add", "default", "via", four(1), "src", foreign);
  host.run(3, "ip", "neigh", "replace", four(1), "lladdr", mac, "dev", "eth0");
  await host.send(3, addresses.outside, 9999);
  assert.match(host.run("outside", "nft", "list table ip t"), /counter packets 0 /);
  host.run("host", "nft", `delete element ip tombolo leaves { ${bridge} }`);
  await host.repaired("an element of the set of leaf bridges");
});

it("makes a leaf bridge for its first container, removes it with the last, and makes it again when it is lost", async () => {
  await using host = await RealHost.open();
  const rows = networkRows({ number: 1 });
  const leaves = () => host.run("host", "ip", "-brief", "link").match(/^lf\d/gm);
  await host.commit((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2 });
  });
  assert.equal(leaves(), null);
  await host.commit((tx) => void putContainer(tx, rows, { member: 3, leaf: 1 }));
  await host.commit((tx) => void putContainer(tx, rows, { member: 4, leaf: 1 }));
  assert.deepEqual(leaves(), ["lf1"]);
  for (const [what, ...command] of [
    ["the leaf bridge", "ip", "link", "delete", "lf1-a000000001"],
    ["the cable", "ip", "link", "delete", "lu1-a000000001"],
    ["the leaf's end", "ip", "link", "set", "lu1-a000000001", "nomaster"],
    [
      "a flag of its port",
      "bridge",
      "link",
      "set",
      "dev",
      `veth${endpointRow(rows, { member: 3 }).id.slice(0, 11)}`,
      "flood",
      "on",
    ],
  ] as const) {
    const [name = "", ...words] = command;
    host.run("host", name, ...words);
    await host.repaired(what);
    assert.ok(await host.pings(2, four(3)), what);
  }
  await host.commit((tx) => deleteContainer(tx, endpointRow(rows, { member: 3 })));
  assert.deepEqual(leaves(), ["lf1"]);
  assert.ok(await host.pings(2, four(4)));
  await host.commit((tx) => deleteContainer(tx, endpointRow(rows, { member: 4 })));
  assert.equal(leaves(), null);
  await host.assertClean();
});
