import assert from "node:assert/strict";
import { it } from "node:test";
import { portName } from "../../src/drivers/cable.ts";
import type { FrameSocket } from "../../src/kernel/kernel.ts";
import { udp } from "../../src/lan/frames.ts";
import type { NamespaceName } from "../../src/model/plan.ts";
import { canary, forgedFrames, type Frames, honestFrames, loudFrames, type Party } from "../support/forged-frames.ts";
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

const [attacker, victim, owner] = [2, 3, 4];
const tunnel = { udpPort: 4789, local: addresses.host, mtu: 1450 };
const overlay = (options = {}) => networkRows({ number: 1, driver: "overlay", ipv6: true, vni: 4097, tunnel, options });
const bridgeMac = (host: RealHost, rows: NetworkRows) =>
  /ether (\S+)/.exec(host.run("host", "ip", "link", "show", bridgeOf(rows)))?.[1] ?? "";
const bridgeOf = ({ network }: NetworkRows) => `br-${network.id.slice(0, 12)}`;
const repeats = 90; // fewer than the broadcasts that a port may send at once
const flood = 10_000;
const patience = 2000; // milliseconds
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** UDP packets to `aim` that came to the host or to the machine behind it, from now on; waits until there are `expected`. */
const aim = 4790;
function packets(host: RealHost, place: "host" | "outside", match = `udp dport ${aim}`): (expected?: number) => number {
  for (const command of [
    "add table inet t",
    "add chain inet t c { type filter hook prerouting priority -450; }",
    `add rule inet t c ${match} counter`,
  ])
    host.run(place, "nft", command);
  const look = () => Number(/packets (\d+)/.exec(host.run(place, "nft", "list table inet t"))?.[1]);
  return (expected = 0) => {
    const late = performance.now() + patience;
    let found = look();
    while (found < expected && performance.now() < late) found = look();
    return found;
  };
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

/** Raw frames from a container. */
function mouth(host: RealHost, member: number): Pick<FrameSocket, "send"> & Disposable {
  const namespace: NamespaceName = `sandbox:${idOf("5", member)}`;
  const socket = host.kernel.frames("eth0", "dhcp", () => {}, namespace);
  return { send: (frame) => socket.send(frame), [Symbol.dispose]: () => socket.close() };
}

/** Frames of ours that came to a container since the last look; waits until there are `expected`, and none comes any more. */
function arrivals(host: RealHost, member: number): (expected?: number) => number {
  for (const command of [
    "add table netdev t",
    'add chain netdev t c { type filter hook ingress device "eth0" priority 0; }',
    "add counter netdev t seen",
    `add rule netdev t c @ll,${canary.bits},32 0x${canary.value} counter name seen`,
  ])
    host.run(member, "nft", command);
  const look = () => Number(/packets (\d+)/.exec(host.run(member, "nft", "reset counter netdev t seen"))?.[1]);
  return (expected = 0) => {
    const late = performance.now() + patience;
    // A frame is on its way for as long as the kernel's thread for it waits for a processor.
    for (let sum = look(); ; ) {
      if (sum === expected) return sum;
      const found = look();
      sum += found;
      if (found === 0 && (sum > expected || performance.now() > late)) return sum;
    }
  };
}

/** @param expected of each frame */
function counts(
  socket: Pick<FrameSocket, "send">,
  frames: Frames,
  seen: (expected?: number) => number,
  expected = 0,
): Record<string, number> {
  seen();
  const each = Object.entries(frames).map(([name, frame]): [string, number] => {
    for (let i = 0; i < repeats; i += 1) socket.send(frame);
    return [name, seen(expected)];
  });
  return Object.fromEntries(each);
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
    using socket = mouth(host, attacker);
    const seen = arrivals(host, victim);
    const before = [victim, "host" as const].map((place) => neighbours(host, place));
    const forged = forgedFrames(a, b, c, gateway);
    assert.deepEqual(counts(socket, forged, seen), every(forged, 0));
    assert.deepEqual(
      [victim, "host" as const].map((place) => neighbours(host, place)),
      before,
    );
    const honest = honestFrames(a, b, free);
    // What goes to all is kept from who is on a leaf (decision 0014), and here from nobody else.
    assert.deepEqual(counts(socket, honest, seen, repeats), every(honest, repeats));
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
    using socket = mouth(host, attacker);
    const seen = arrivals(host, victim);
    const forged = forgedFrames(a, b, c, gateway);
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
      if (!guarded) assert.notEqual(counts(socket, { VLAN: forged["VLAN 5"] as Buffer }, seen, 1)["VLAN"], 0, words);
      await host.repaired(words);
      const until = performance.now() + patience;
      // The base is in no plan, so that no audit says when it is back.
      while (counts(socket, { one: forged["VLAN 5"] as Buffer }, seen)["one"] !== 0) {
        assert.ok(performance.now() < until, words);
        await pause(10);
      }
      assert.deepEqual(counts(socket, forged, seen), every(forged, 0), words);
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
  using socket = mouth(host, attacker);
  const seen = arrivals(host, victim);
  const frames = honestFrames(a, b, c);
  const floating = Object.fromEntries(Object.entries(frames).filter(([name]) => name.includes("nobody has")));
  assert.deepEqual(counts(socket, floating, seen), every(floating, 0));
  await host.commit((tx) => deleteContainer(tx, endpointRow(rows, { member: owner })));
  assert.deepEqual(counts(socket, floating, seen, repeats), every(floating, repeats));
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
    const out = packets(host, "outside", `udp dport ${tunnel.udpPort}`);
    const seen = arrivals(host, victim);
    for (const [name, frame] of Object.entries(loudFrames(party(rows, attacker), free))) {
      using socket = mouth(host, attacker);
      const [before, begun] = [out(), performance.now()];
      seen();
      for (let i = 0; i < flood; i += 1) socket.send(frame);
      const isLimited = (limited as readonly string[]).includes(name);
      const here = seen(isLimited ? 1 : flood);
      const most = 101 + (performance.now() - begun);
      if (isLimited) assert.ok(here > 0 && here <= most, `${here} of ${most}`);
      else assert.equal(here, flood, name);
      const expected = limited.length === 2 ? here : 0;
      assert.equal(out(before + expected) - before, expected, name);
      // Its neighbour speaks all the same.
      using other = mouth(host, owner);
      other.send(loudFrames(party(rows, owner), free)[name] as Buffer);
      assert.equal(seen(1), 1);
    }
    await host.assertClean();
  });

it("takes frames for a bridge's reserved addresses on no other way than all others", async () => {
  await using host = await RealHost.open();
  const rows = networkRows({ number: 1, internal: true });
  await populate(host, rows, 1);
  const sender = party(rows, attacker);
  const bridges = `"${bridgeOf(rows)}", "lf1-${rows.network.id.slice(0, 10)}"`;
  const [strays, outside] = [
    packets(host, "host", `iifname != { ${bridges} } udp dport ${aim}`),
    packets(host, "outside"),
  ];
  for (const member of [attacker, victim]) {
    using socket = mouth(host, member);
    for (let last = 0; last < 16; last += 1)
      for (const source of [sender.ip, addresses.outside])
        for (const address of [addresses.host, addresses.outside]) {
          const to = `01:80:c2:00:00:${last.toString(16).padStart(2, "0")}`;
          const { mac: from } = party(rows, member);
          socket.send(udp({ to, from }, { address: source, port: 9 }, { address, port: aim }, Buffer.alloc(8)));
        }
  }
  await pause(20);
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
  await pause(2000); // the router asks for its neighbours from its addresses of the links, which it probes first
  for (const address of ["10.2.0.3", "fd00:2::3"]) assert.ok(await host.pings(2, address), address);
  // As if it were container 2 of the other network, or that network's gateway.
  const [here, there] = [packets(host, "host"), packets(host, "outside")];
  using socket = mouth(host, 3);
  const { mac: from } = party(two, 3);
  for (const to of [bridgeMac(host, two), "ff:ff:ff:ff:ff:ff"])
    for (const [source, count] of [
      ["10.1.0.2", 0],
      ["10.1.0.1", 0],
      ["10.2.0.3", 1],
    ] as const)
      for (const address of ["10.2.0.1", addresses.host, addresses.outside]) {
        const before = here();
        socket.send(udp({ to, from }, { address: source, port: 9 }, { address, port: aim }, Buffer.alloc(8)));
        await pause(10);
        assert.equal(here(before + count) - before, count, `${source} to ${address} at ${to}`);
      }
  assert.equal(there(1), 1, "what is its own goes into the world");
  await host.assertClean();
});
