import assert from "node:assert/strict";
import { createServer } from "node:net";
import { it } from "node:test";
import { udp } from "../../src/lan/frames.ts";
import type { Network, Tunnel } from "../../src/model/network.ts";
import { addresses, type Place, RealHost } from "../support/real-host.ts";
import {
  deleteContainer,
  deleteNetwork,
  endpointRow,
  type NetworkRows,
  networkRows,
  peerRow,
  putContainer,
  putNetwork,
} from "../support/rows.ts";
import { until } from "../support/until.ts";

const udpPort = 4789;
const over4: Tunnel = { udpPort, local: addresses.host, mtu: 1450 };
const over6: Tunnel = { udpPort, local: addresses.host6, mtu: 1430 };
const vni = 4097;
/** The number of a container that this host has, and of the one behind the other machine's end of the tunnel. */
const [here, there] = [2, 9];
const nobody = 77;
const four = (member: number) => `10.1.0.${member}`;
const six = (member: number) => `fd00:1::${member.toString(16)}`;
const inIpv6 = (address: string) => address.includes(":");

const networkOver = (tunnel: Tunnel, options: Readonly<Record<string, string>> = {}): NetworkRows =>
  networkRows({ number: 1, driver: "overlay", ipv6: true, vni, tunnel, options });

/** A container on the network here, and one on the other machine, whose tunnels end at `dataPath` for all we know. */
async function populate(host: RealHost, rows: NetworkRows, dataPath: string): Promise<void> {
  await host.commit((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: here });
    tx.put("peers", peerRow(rows, { member: there, dataPath }));
  });
}

/** The other machine's end, made by hand: the link is its container, too. */
function farEnd(host: RealHost, rows: NetworkRows, local: string, remote: string, more = ""): void {
  const { mac } = peerRow(rows, { member: there, dataPath: local });
  const ip = (words: string) => host.run("outside", "ip", ...words.split(" "));
  ip(`link add far type vxlan id ${vni} dstport ${udpPort} local ${local} remote ${remote}${more}`);
  ip(`link set far address ${mac} mtu ${inIpv6(local) ? 1430 : 1450} up`);
  ip(`address add ${four(there)}/16 dev far`);
  ip(`address add ${six(there)}/64 dev far nodad`);
}

/** Packets that arrive somewhere and are of a kind, from now on. */
function counted(host: RealHost, place: Place, kind = `udp dport ${udpPort}`): () => number {
  for (const command of [
    "add table inet t",
    "add chain inet t c { type filter hook prerouting priority raw; }",
    `add rule inet t c ${kind} counter`,
  ])
    host.run(place, "nft", command);
  return () => Number(/packets (\d+)/.exec(host.run(place, "nft", "list table inet t"))?.[1]);
}

for (const [title, tunnel, far] of [
  ["IPv4", over4, addresses.outside],
  ["IPv6", over6, addresses.outside6],
] as const)
  it(`connects containers of two hosts over ${title}, and asks nobody on the way`, async () => {
    await using host = await RealHost.open();
    const rows = networkOver(tunnel);
    await populate(host, rows, far);
    farEnd(host, rows, far, tunnel.local);
    const packets = counted(host, "outside");
    for (const address of [four(there), six(there)]) assert.ok(await host.pings(here, address), address);
    const before = packets();
    assert.ok(await host.misses(here, four(nobody), six(nobody)));
    assert.equal(packets(), before, "what nobody has goes nowhere");
    host.serve(here, 80);
    assert.equal(await host.ask("outside", four(here), 80), four(there));
    assert.match(host.run(here, "ip", "link", "show", "eth0"), new RegExp(` mtu ${tunnel.mtu} `));
    await host.assertClean();
  });

it("copies broadcast to the other hosts with multicast=true alone", async () => {
  for (const multicast of ["true", "false"]) {
    await using host = await RealHost.open();
    const rows = networkOver(over4, { multicast });
    await populate(host, rows, addresses.outside);
    farEnd(host, rows, addresses.outside, addresses.host);
    const packets = counted(host, "outside");
    await host.misses(here, four(nobody), "ff02::1%eth0");
    assert.equal(packets() > 0, multicast === "true", `multicast=${multicast}`);
    await host.assertClean();
  }
});

it("takes nothing from a machine that has no container of its networks", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4);
  await populate(host, rows, "192.0.2.99");
  farEnd(host, rows, addresses.outside, addresses.host);
  const { mac } = endpointRow(rows, { member: here });
  host.run("outside", "ip", "neigh", "replace", four(here), "lladdr", mac, "dev", "far");
  const packets = counted(host, here, `ip saddr ${four(there)}`);
  assert.ok(await host.misses("outside", four(here)));
  assert.equal(packets(), 0);
  const peer = peerRow(rows, { member: there, dataPath: addresses.outside });
  await host.commit((tx) => tx.put("peers", peer));
  assert.ok(await host.pings("outside", four(here)), "it has one now");
  assert.notEqual(packets(), 0);
  await host.commit((tx) => tx.delete("peers", peer.id));
  assert.ok(await host.misses("outside", four(here)), "and none again");
});

it("takes a machine's packets for the networks on which it has a container, and for no other", async () => {
  await using host = await RealHost.open();
  const [shared, own] = [
    networkOver(over4),
    networkRows({ number: 2, driver: "overlay", vni: vni + 1, tunnel: over4 }),
  ];
  await populate(host, shared, addresses.outside);
  await host.commit((tx) => {
    putNetwork(tx, own);
    putContainer(tx, own, { member: 3 });
  });
  farEnd(host, shared, addresses.outside, addresses.host);
  // The same machine, with the identifier and an address of the network that it has no part in.
  const { mac } = endpointRow(own, { member: 3 });
  const ip = (words: string) => host.run("outside", "ip", ...words.split(" "));
  ip(`link add stray type vxlan id ${vni + 1} dstport ${udpPort} local ${addresses.outside} remote ${addresses.host}`);
  ip("link set stray mtu 1450 up");
  ip(`address add 10.2.0.9/16 dev stray`);
  ip(`neigh replace 10.2.0.3 lladdr ${mac} dev stray nud permanent`);
  const [arrived, taken] = [counted(host, "host"), counted(host, 3, "ip saddr 10.2.0.9")];
  assert.ok(await host.misses("outside", "10.2.0.3"));
  assert.notEqual(arrived(), 0);
  assert.equal(taken(), 0);
  assert.ok(await host.pings("outside", four(here)), "of the network that both are on");
  await host.commit((tx) => tx.put("peers", peerRow(own, { member: 9, dataPath: addresses.outside })));
  await host.misses("outside", "10.2.0.3");
  assert.notEqual(taken(), 0, "it has one there now");
  await host.assertClean();
});

it("lets no program of the host, and no container of a bridge, send to the port of the tunnels", async () => {
  await using host = await RealHost.open();
  await populate(host, networkOver(over4), addresses.outside);
  const bridged = networkRows({ number: 2, ipv6: true });
  await host.commit((tx) => {
    putNetwork(tx, bridged);
    putContainer(tx, bridged, { member: 3 });
  });
  const other = udpPort + 1;
  const packets = counted(host, "outside", `udp dport { ${udpPort}, ${other} }`);
  for (const [port, seen] of [
    [udpPort, 0],
    [other, 4],
  ] as const) {
    for (const from of ["host", 3] as const)
      for (const to of [addresses.outside, addresses.outside6]) await host.send(from, to, port);
    await until(() => packets() >= seen, `to port ${port}`);
    assert.equal(packets(), seen, `to port ${port}`);
  }
});

/** Puts container 3 on a bridge network of the host. @returns its rows */
async function bridgedContainer(host: RealHost): Promise<NetworkRows> {
  const bridged = networkRows({ number: 2 });
  await host.commit((tx) => {
    putNetwork(tx, bridged);
    putContainer(tx, bridged, { member: 3 });
  });
  return bridged;
}

it("takes nothing from a container that writes another host's address over its own", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4);
  await populate(host, rows, addresses.outside);
  const bridged = await bridgedContainer(host);
  const arrived = counted(host, "host");
  const taken = counted(host, here, `ip saddr ${four(there)}`);
  // VXLAN (RFC 7348 section 5), and in it a packet from the other host's container to ours.
  const inner = udp(
    { to: endpointRow(rows, { member: here }).mac, from: peerRow(rows, { member: there, dataPath: "" }).mac },
    { address: four(there), port: 9 },
    { address: four(here), port: 9 },
    Buffer.alloc(8),
  );
  const header = Buffer.from([8, 0, 0, 0, vni >> 16, (vni >> 8) & 0xff, vni & 0xff, 0]);
  const socket = host.kernel.frames(
    "eth0",
    "dhcp",
    () => {},
    `sandbox:${endpointRow(bridged, { member: 3 }).sandboxId}`,
  );
  const to = /ether (\S+)/.exec(host.run("host", "ip", "link", "show", `br-${bridged.network.id.slice(0, 12)}`))?.[1];
  const { mac: from } = endpointRow(bridged, { member: 3 });
  const target = { address: addresses.host, port: udpPort };
  for (let i = 0; i < 100; i += 1)
    socket.send(
      udp({ to: to ?? "", from }, { address: addresses.outside, port: 5000 }, target, Buffer.concat([header, inner])),
    );
  socket.close();
  await until(() => arrived() === 100, "it comes to the host");
  assert.equal(taken(), 0);
});

it("takes another host's packets, whoever of its containers spoke from the tunnel's port to that host", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4);
  await populate(host, rows, addresses.outside);
  await bridgedContainer(host);
  const from = 5000;
  await host.send(3, addresses.outside, from, udpPort);
  farEnd(host, rows, addresses.outside, addresses.host, ` srcport ${from} ${from + 1}`);
  assert.ok(await host.pings("outside", four(here)));
});

it("brings a megabyte through a path that carries less than the hosts' links, and says so to nobody", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4);
  await populate(host, rows, addresses.outside);
  farEnd(host, rows, addresses.outside, addresses.host);
  // What a switch with a smaller size drops, of packets as they are on a wire: veth would pass on 64 KiB in one.
  host.run(here, "ip", "link", "set", "eth0", "gso_max_segs", "1");
  for (const command of [
    "add table netdev t",
    'add chain netdev t c { type filter hook ingress device "eth0" priority 0; }',
    `add rule netdev t c udp dport ${udpPort} ip length > 1400 counter drop`,
  ])
    host.run("outside", "nft", command);
  const size = 1_000_000;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let length = 0;
    socket.on("data", (piece) => (length += piece.length)).on("end", () => socket.end(`${length}`));
    socket.unref();
  }).unref();
  host.inside("outside", () => server.listen(9000));
  const program = `
    const socket = require("node:net").connect(9000, "${four(there)}", () => socket.end(Buffer.alloc(${size})));
    socket.pipe(process.stdout);
    setTimeout(() => process.exit(1), 60_000).unref();`;
  assert.equal(await host.try(here, process.execPath, "-e", program), `${size}`);
  server.close();
  assert.match(host.run("outside", "nft", "list table netdev t"), /counter packets [1-9]/);
  await host.assertClean();
});

it("keeps an encrypted network on the host", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4, { encrypted: "" });
  await populate(host, rows, addresses.outside);
  await host.commit((tx) => void putContainer(tx, rows, { member: 3 }));
  farEnd(host, rows, addresses.outside, addresses.host);
  const packets = counted(host, "outside");
  for (const address of [four(3), six(3)]) assert.ok(await host.pings(here, address), address);
  assert.ok(await host.misses(here, four(there), six(there)));
  assert.ok(await host.misses("outside", four(here)));
  assert.equal(packets(), 0);
  await host.assertClean();
});

it("follows the host to another address, and leaves nothing when the last container goes", async () => {
  await using host = await RealHost.open();
  const rows = networkOver(over4);
  await populate(host, rows, addresses.outside);
  const moved: Network = { ...rows.network, tunnel: over6 };
  await host.commit((tx) => {
    tx.put("networks", moved);
    tx.put("peers", peerRow(rows, { member: there, dataPath: addresses.outside6 }));
  });
  farEnd(host, rows, addresses.outside6, addresses.host6);
  for (const address of [four(there), six(there)]) assert.ok(await host.pings(here, address), address);
  await host.assertClean();
  await host.commit((tx) => {
    deleteContainer(tx, endpointRow(rows, { member: here }));
    tx.delete("peers", peerRow(rows, { member: there, dataPath: "" }).id);
    deleteNetwork(tx, rows);
  });
  await host.assertClean();
  assert.deepEqual(host.kernel.namespaces(), []);
  assert.doesNotMatch(host.run("host", "nft", "list ruleset"), /4789|192\.0\.2|2001:db8/);
});
