import assert from "node:assert/strict";
import { it } from "node:test";
import { portName } from "../../src/drivers/cable.ts";
import { udp } from "../../src/lan/frames.ts";
import type { NamespaceName } from "../../src/model/plan.ts";
import { forgedFrames, type Frames, honestFrames, loudFrames, type Party } from "../support/forged-frames.ts";
import { addresses, RealHost } from "../support/real-host.ts";
import {
  deleteContainer,
  endpointRow,
  idOf,
  type NetworkRows,
  networkRows,
  peerRow,
  putContainer,
  putNetwork,
} from "../support/rows.ts";
import { until } from "../support/until.ts";
import { Ear, stayOnOneProcessor, Wire } from "../support/wire.ts";

stayOnOneProcessor();

const [attacker, victim, owner] = [2, 3, 4];
const tunnel = { udpPort: 4789, local: addresses.host, mtu: 1450 };
const overlay = (options = {}) => networkRows({ number: 1, driver: "overlay", ipv6: true, vni: 4097, tunnel, options });
const bridgeMac = (host: RealHost, rows: NetworkRows) =>
  /ether (\S+)/.exec(host.run("host", "ip", "link", "show", bridgeOf(rows)))?.[1] ?? "";
const bridgeOf = ({ network }: NetworkRows) => `br-${network.id.slice(0, 12)}`;
const repeats = 90; // fewer than the broadcasts that a port may send at once
const flood = 10_000;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** @returns how many UDP packets to `aim` have come to the host, or to the machine behind it, from now on */
const aim = 4790;
function packets(host: RealHost, place: "host" | "outside", match = ""): () => number {
  for (const command of [
    "add table inet t",
    "add chain inet t c { type filter hook prerouting priority -450; }",
    `add rule inet t c ${match} udp dport ${aim} counter`,
  ])
    host.run(place, "nft", command);
  return () => Number(/packets (\d+)/.exec(host.run(place, "nft", "list table inet t"))?.[1]);
}

function party(rows: NetworkRows, member: number): Party {
  const { mac } = endpointRow(rows, { member });
  const bytes = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const six = [
    ((bytes[0] ?? 0) ^ 2) * 256 + (bytes[1] ?? 0),
    (bytes[2] ?? 0) * 256 + 0xff,
    0xfe00 + (bytes[3] ?? 0),
    (bytes[4] ?? 0) * 256 + (bytes[5] ?? 0),
  ];
  const number = Number.parseInt(rows.network.id.slice(1, 10), 16);
  return {
    mac,
    ip: `10.${number}.0.${member}`,
    ip6: `fd00:${number}::${member.toString(16)}`,
    linkLocal: `fe80::${six.map((group) => group.toString(16)).join(":")}`,
  };
}
const gateway = { mac: "", ip: "10.1.0.1", ip6: "fd00:1::1" };
const free = { ip: "10.1.0.200", ip6: "fd00:1::200" };

/** @param leaf of attacker and owner */
async function populate(host: RealHost, rows: NetworkRows, leaf?: number): Promise<void> {
  await host.commit((tx) => {
    putNetwork(tx, rows);
    for (const member of [attacker, victim, owner])
      putContainer(tx, rows, { member, ...(leaf !== undefined && member !== victim && { leaf }) });
  });
}

/** From one container to another one of its network. */
const wire = (host: RealHost, rows: NetworkRows, from: number, to: number, ear = new Ear(host, to)) =>
  new Wire(host, [from, party(rows, from)], party(rows, to), ear);

/** What comes of each frame, sent `repeats` times. */
async function counts(from: Wire, frames: Frames, ear: Ear): Promise<Record<string, number>> {
  ear.heard();
  const found: Record<string, number> = {};
  for (const [name, frame] of Object.entries(frames)) {
    await from.send(frame, repeats);
    found[name] = ear.heard();
  }
  return found;
}
const every = (frames: Frames, count: number) => Object.fromEntries(Object.keys(frames).map((name) => [name, count]));

/** Who is where on networks, for all that a place knows. */
const neighbours = (host: RealHost, place: number | "host") =>
  host
    .run(place, "ip", "neigh", "show")
    .split("\n")
    .flatMap((line) => /^(\S+) dev (?!uplink)\S+ lladdr (\S+)/.exec(line)?.slice(1, 3).join(" at ") ?? [])
    .toSorted();

/** Everybody answers everybody, and so each has an entry for all others. */
async function acquaint(host: RealHost): Promise<void> {
  const members = [attacker, victim, owner];
  for (const from of members)
    for (const to of members)
      for (const address of [`10.1.0.${to}`, `fd00:1::${to}`])
        if (to !== from) assert.ok(await host.pings(from, address), `${from} to ${address}`);
}

for (const [title, rows, leaf] of [
  ["a bridge", networkRows({ number: 1, ipv6: true }), undefined],
  ["a leaf bridge", networkRows({ number: 1, ipv6: true }), 1],
  ["an overlay", overlay(), undefined],
  ["a leaf bridge of an overlay", overlay(), 1],
] as const)
  it(`lets a container on ${title} send what is its own, and nothing that is another's`, async () => {
    await using host = await RealHost.open();
    await populate(host, rows, leaf);
    await acquaint(host);
    const [a, b, c] = [attacker, victim, owner].map((member) => party(rows, member)) as [Party, Party, Party];
    const ear = new Ear(host, victim);
    using from = wire(host, rows, attacker, victim, ear);
    const before = [victim, "host" as const].map((place) => neighbours(host, place));
    const forged = forgedFrames(a, b, c, gateway);
    assert.deepEqual(await counts(from, forged, ear), every(forged, 0));
    assert.deepEqual(
      [victim, "host" as const].map((place) => neighbours(host, place)),
      before,
    );
    const honest = honestFrames(a, b, free);
    // What goes to all is kept from who is on a leaf (decision 0014), and here from nobody else.
    assert.deepEqual(await counts(from, honest, ear), every(honest, repeats));
    await acquaint(host);
    await host.assertClean();
  });

it("puts the guard back in its place, on the host and in a network's namespace, and does nothing after a restart", async () => {
  for (const rows of [networkRows({ number: 1, ipv6: true }), overlay()]) {
    await using host = await RealHost.open();
    await populate(host, rows);
    const place: NamespaceName = rows.network.tunnel === undefined ? "host" : `network:${rows.network.id}`;
    const nft = (...words: string[]) =>
      host.run("host", "nsenter", `--net=${host.kernel.namespacePath(place)}`, "nft", ...words);
    const [a, b, c] = [attacker, victim, owner].map((member) => party(rows, member)) as [Party, Party, Party];
    const ear = new Ear(host, victim);
    using from = wire(host, rows, attacker, victim, ear);
    const forged = forgedFrames(a, b, c, gateway);
    const tagged = { one: forged["VLAN 5"] as Buffer };
    for (const [words, guarded] of [
      ["flush ruleset", false],
      ["delete table bridge tombolo", false],
      ["flush chain bridge tombolo frames", false],
      [`flush chain bridge tombolo frames_${rows.network.id.slice(0, 12)}`, false],
      [`delete element bridge tombolo ports { "${portName(endpointRow(rows, { member: attacker }).id)}" }`, false],
      ["flush set bridge tombolo taken", true],
      [`add element bridge tombolo sources { "eth7" . 02:00:00:00:00:01 . 10.1.0.9 }`, true],
    ] as const) {
      nft(...words.split(" "));
      if (!guarded) assert.notEqual((await counts(from, tagged, ear))["one"], 0, words);
      await host.repaired(words);
      // The base is in no plan, so that no audit says when it is back.
      await until(async () => (await counts(from, tagged, ear))["one"] === 0, words);
      assert.deepEqual(await counts(from, forged, ear), every(forged, 0), words);
      await pause(1100); // more often would be a fight
    }
    await host.restart();
    assert.deepEqual(host.steps, []);
    await host.assertClean();
  }
});

it("gives an address back to all when its container is gone", async () => {
  await using host = await RealHost.open();
  const rows = networkRows({ number: 1, ipv6: true });
  await populate(host, rows);
  const [a, b, c] = [attacker, victim, owner].map((member) => party(rows, member)) as [Party, Party, Party];
  const ear = new Ear(host, victim);
  using from = wire(host, rows, attacker, victim, ear);
  const frames = honestFrames(a, b, c);
  const floating = Object.fromEntries(Object.entries(frames).filter(([name]) => name.includes("nobody has")));
  assert.deepEqual(await counts(from, floating, ear), every(floating, 0));
  await host.commit((tx) => deleteContainer(tx, endpointRow(rows, { member: owner })));
  assert.deepEqual(await counts(from, floating, ear), every(floating, repeats));
});

for (const [title, rows, limited] of [
  ["a bridge", networkRows({ number: 1 }), ["broadcast"]],
  ["an overlay", networkRows({ number: 1, driver: "overlay", vni: 4097, tunnel }), ["broadcast"]],
  [
    "an overlay with multicast=true",
    networkRows({ number: 1, driver: "overlay", vni: 4097, tunnel, options: { multicast: "true" } }),
    ["broadcast", "multicast"],
  ],
] as const)
  it(`lets a container on ${title} send a thousand frames a second at most to everybody: ${limited.join(", ")}`, async () => {
    await using host = await RealHost.open();
    await populate(host, rows);
    await host.commit((tx) => tx.put("peers", peerRow(rows, { member: 8, dataPath: addresses.outside })));
    assert.ok(await host.pings("host", addresses.outside), "what waits for a neighbour is not on its way");
    const [here, out] = [new Ear(host, victim), new Ear(host, "outside")];
    for (const [name, frame] of Object.entries(loudFrames(party(rows, attacker), free))) {
      using from = wire(host, rows, attacker, victim, here);
      const begun = performance.now();
      await from.send(frame, flood);
      const most = 101 + (performance.now() - begun);
      const heard = here.heard();
      if ((limited as readonly string[]).includes(name)) assert.ok(heard > 0 && heard <= most, `${heard} of ${most}`);
      else assert.equal(heard, flood, name);
      assert.equal(out.heard(), limited.length === 2 ? heard : 0, name);
      // Its neighbour speaks all the same.
      using other = wire(host, rows, owner, victim, here);
      await other.send(loudFrames(party(rows, owner), free)[name] as Buffer);
      assert.equal(here.heard(), 1);
      out.heard();
    }
    await host.assertClean();
  });

it("takes frames for a bridge's reserved addresses on no other way than all others", async () => {
  await using host = await RealHost.open();
  const rows = networkRows({ number: 1, internal: true });
  await populate(host, rows, 1);
  const sender = party(rows, attacker);
  const bridges = `"${bridgeOf(rows)}", "lf1-${rows.network.id.slice(0, 10)}"`;
  const [strays, outside] = [packets(host, "host", `iifname != { ${bridges} }`), packets(host, "outside")];
  for (const [member, other] of [
    [attacker, victim],
    [victim, attacker],
  ] as const) {
    using from = wire(host, rows, member, other);
    for (let last = 0; last < 16; last += 1)
      for (const source of [sender.ip, addresses.outside])
        for (const address of [addresses.host, addresses.outside]) {
          const to = `01:80:c2:00:00:${last.toString(16).padStart(2, "0")}`;
          const link = { to, from: party(rows, member).mac };
          await from.send(udp(link, { address: source, port: 9 }, { address, port: aim }, Buffer.alloc(8)));
        }
  }
  assert.equal(strays(), 0);
  assert.equal(outside(), 0);
});

it("lets a container be a router between two networks, and no more", async () => {
  await using host = await RealHost.open();
  const [one, two] = [networkRows({ number: 1, ipv6: true }), networkRows({ number: 2, ipv6: true })];
  const router = 9;
  await host.commit((tx) => {
    for (const rows of [one, two]) putNetwork(tx, rows);
    putContainer(tx, one, { member: 2 });
    putContainer(tx, two, { member: 3 });
    putContainer(tx, one, { member: router });
    tx.put("endpoints", endpointRow(two, { member: 5, container: router, interfaceName: "eth1" }));
  });
  for (const key of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
    host.kernel.sysctl(`sandbox:${idOf("5", router)}`, key, "1");
  for (const [member, net, via] of [
    [2, 2, "1.0.9"],
    [3, 1, "2.0.5"],
  ] as const) {
    host.run(member, "ip", "route", "add", `10.${net}.0.0/16`, "via", `10.${via}`);
    host.run(member, "ip", "route", "add", `fd00:${net}::/64`, "via", `fd00:${via.replace(".0.", "::")}`);
  }
  // The router asks for its neighbours from its addresses of the links, which it probes first.
  await until(() => host.run(router, "ip", "-6", "address", "show", "tentative") === "", "it has probed them");
  for (const address of ["10.2.0.3", "fd00:2::3"]) assert.ok(await host.pings(2, address), address);
  // As if it were container 2 of the other network, or that network's gateway.
  const [here, there] = [packets(host, "host"), packets(host, "outside")];
  using mouth = wire(host, two, 3, 5, new Ear(host, router, "eth1"));
  const { mac: from } = party(two, 3);
  for (const to of [bridgeMac(host, two), "ff:ff:ff:ff:ff:ff"])
    for (const [source, count] of [
      ["10.1.0.2", 0],
      ["10.1.0.1", 0],
      ["10.2.0.3", 1],
    ] as const)
      for (const address of ["10.2.0.1", addresses.host, addresses.outside]) {
        const before = here();
        await mouth.send(udp({ to, from }, { address: source, port: 9 }, { address, port: aim }, Buffer.alloc(8)));
        assert.equal(here() - before, count, `${source} to ${address} at ${to}`);
      }
  assert.equal(there(), 1, "what is its own goes into the world");
  await host.assertClean();
});
