import assert from "node:assert/strict";
import { it } from "node:test";
import type { PortBinding } from "../../src/model/endpoint.ts";
import { addresses, type Place, RealHost } from "../support/real-host.ts";
import { endpointRow, type NetworkWish, networkRows, putContainer, putNetwork, sandboxRow } from "../support/rows.ts";

const bridge = "com.docker.network.bridge";
const web = (hostIp: string, hostPort: number): PortBinding => ({
  protocol: "tcp",
  containerPort: 80,
  hostIp,
  hostPort,
});
const everywhere = [web("0.0.0.0", 8080), web("::", 8080)];

/** Networks with one container each of these numbers; every container serves port 80. The first named publishes `ports`. */
async function populate(
  host: RealHost,
  wish: NetworkWish,
  members: readonly number[],
  ports: readonly PortBinding[] = [],
): Promise<void> {
  const rows = networkRows(wish);
  await host.commit((tx) => {
    putNetwork(tx, rows);
    members.forEach((member, at) => putContainer(tx, rows, { member, ports: at === 0 ? ports : [] }));
  });
  for (const member of members) host.serve(member, 80);
}

/** Address of container `member` on network `number`. */
const four = (number: number, member: number) => `10.${number}.0.${member}`;
const six = (number: number, member: number) => `fd00:${number}::${member.toString(16)}`;

type Question = readonly [from: Place, address: string, port: number, seen: string];
/** Asks all at once. `seen` is the address that the server must have seen, "" when nobody may answer. */
async function assertAnswers(host: RealHost, questions: readonly Question[]): Promise<void> {
  const asked = questions.map(async ([from, address, port, wish]) => {
    return [from, address, port, await host.ask(from, address, port, wish !== "")] as const;
  });
  assert.deepEqual(await Promise.all(asked), questions);
}

it("connects containers of one network, and not those of two", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1, ipv6: true }, [2, 3]);
  await populate(host, { number: 2, ipv6: true }, [4]);
  await assertAnswers(host, [
    [2, four(1, 3), 80, four(1, 2)],
    [3, four(1, 2), 80, four(1, 3)],
    [2, six(1, 3), 80, six(1, 2)],
    [2, four(2, 4), 80, ""],
    [4, four(1, 2), 80, ""],
    [2, six(2, 4), 80, ""],
    [4, six(1, 2), 80, ""],
    ["host", four(1, 2), 80, four(1, 1)],
    ["host", six(1, 2), 80, six(1, 1)],
  ]);
  assert.ok(await host.pings(2, four(1, 3)));
  assert.ok(await host.pings(2, six(1, 3)));
  assert.ok(await host.misses(2, four(2, 4)));
  await host.assertClean();
});

it("answers ARP itself, and floods nothing", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1 }, [2, 3, 4]);
  for (const rule of [
    "add table arp t",
    "add chain arp t c { type filter hook input priority 0; }",
    "add rule arp t c arp operation request counter",
  ])
    host.run(4, "nft", rule);
  host.run(2, "ip", "neigh", "flush", "dev", "eth0");
  assert.ok(await host.pings(2, four(1, 3)));
  assert.match(host.run(4, "nft", "list table arp t"), /counter packets 0 /);
  assert.ok(await host.misses(2, four(1, 99)));
  assert.doesNotMatch(host.run(4, "nft", "list table arp t"), /counter packets 0 /, "the counter counts");
});

it("keeps containers apart with enable_icc=false", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1, ipv6: true, options: { [`${bridge}.enable_icc`]: "false" } }, [2, 3], everywhere);
  host.serve("outside", 80);
  await assertAnswers(host, [
    [2, four(1, 3), 80, ""],
    [2, six(1, 3), 80, ""],
    [2, addresses.outside, 80, addresses.host],
    ["host", four(1, 2), 80, four(1, 1)],
    // What is published is for everybody.
    [3, addresses.host, 8080, four(1, 1)],
  ]);
});

it("lets an internal network reach nobody else", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1, ipv6: true, internal: true }, [2, 3], everywhere);
  await populate(host, { number: 2, ipv6: true }, [4], [web("0.0.0.0", 81)]);
  host.serve("outside", 80);
  // A container that gives itself a route still gets nowhere.
  host.run(2, "ip", "route", "add", "default", "via", four(1, 1));
  host.run(2, "ip", "-6", "route", "add", "default", "via", six(1, 1));
  await assertAnswers(host, [
    [2, four(1, 3), 80, four(1, 2)],
    [2, six(1, 3), 80, six(1, 2)],
    [2, addresses.outside, 80, ""],
    [2, addresses.outside6, 80, ""],
    [2, four(2, 4), 80, ""],
    [2, six(2, 4), 80, ""],
    [2, addresses.host, 81, ""],
    [4, four(1, 2), 80, ""],
    ["outside", four(1, 2), 80, ""],
    ["outside", six(1, 2), 80, ""],
    ["outside", addresses.host, 8080, ""],
    ["host", four(1, 2), 80, four(1, 1)],
  ]);
  await host.assertClean();
});

it("sends packets out with the host's address", async () => {
  await using host = await RealHost.open();
  const second = { ip: "192.0.2.7", ip6: "2001:db8::7" };
  host.run("host", "ip", "address", "add", `${second.ip}/32`, "dev", "uplink");
  host.run("host", "ip", "address", "add", `${second.ip6}/128`, "dev", "uplink", "nodad", "preferred_lft", "0");
  host.serve("outside", 80);
  await populate(host, { number: 1, ipv6: true }, [2]);
  await populate(host, { number: 2, ipv6: true, options: { [`${bridge}.enable_ip_masquerade`]: "false" } }, [3]);
  const sources = { "com.docker.network.host_ipv4": second.ip, "com.docker.network.host_ipv6": second.ip6 };
  await populate(host, { number: 3, ipv6: true, options: sources }, [4]);
  await assertAnswers(host, [
    [2, addresses.outside, 80, addresses.host],
    [2, addresses.outside6, 80, addresses.host6],
    [3, addresses.outside, 80, four(2, 3)],
    [3, addresses.outside6, 80, six(2, 3)],
    [4, addresses.outside, 80, second.ip],
    [4, addresses.outside6, 80, second.ip6],
  ]);
});

it("publishes ports to the world, the host, its loopback, and the containers", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1, ipv6: true }, [2, 3], everywhere);
  await populate(host, { number: 2, ipv6: true }, [4]);
  await assertAnswers(host, [
    ["outside", addresses.host, 8080, addresses.outside],
    ["outside", addresses.host6, 8080, addresses.outside6],
    ["host", addresses.host, 8080, addresses.host],
    ["host", addresses.host6, 8080, addresses.host6],
    ["host", "127.0.0.1", 8080, four(1, 1)],
    // Not translated, but refused at once.
    ["host", "::1", 8080, ""],
    // Its own port, a neighbour's, and that of a container of another network, which may be on this one too.
    [2, addresses.host, 8080, four(1, 1)],
    [2, addresses.host6, 8080, six(1, 1)],
    [3, addresses.host, 8080, four(1, 1)],
    [3, four(1, 1), 8080, four(1, 1)],
    [4, addresses.host, 8080, four(1, 1)],
    [4, addresses.host6, 8080, six(1, 1)],
    // Not past the translation.
    ["outside", four(1, 2), 80, ""],
    ["outside", six(1, 2), 80, ""],
    ["outside", four(1, 3), 80, ""],
    ["outside", addresses.host, 80, ""],
  ]);
  await host.assertClean();
});

it("publishes on one address of the host only", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1, ipv6: true }, [2], [web("127.0.0.1", 81), web(addresses.host, 82)]);
  await populate(host, { number: 2 }, [3]);
  host.run("outside", "ip", "route", "add", "127.9.0.0/16", "via", addresses.host);
  host.run("outside", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
  await assertAnswers(host, [
    ["host", "127.0.0.1", 81, four(1, 1)],
    ["host", addresses.host, 81, ""],
    ["host", addresses.host, 82, addresses.host],
    ["host", "127.0.0.1", 82, ""],
    ["outside", addresses.host, 81, ""],
    ["outside", "127.9.0.1", 81, ""],
    ["outside", addresses.host, 82, addresses.outside],
    [3, addresses.host, 81, ""],
    [3, addresses.host, 82, four(1, 1)],
  ]);
});

it("publishes UDP", async () => {
  await using host = await RealHost.open();
  const rows = networkRows({ number: 1, ipv6: true });
  await host.commit((tx) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2 });
  });
  const ports = ["0.0.0.0", "::"].map(
    (hostIp): PortBinding => ({
      protocol: "udp",
      containerPort: host.serveUdp(2, hostIp === "::" ? six(1, 2) : four(1, 2)),
      hostIp,
      hostPort: 5353,
    }),
  );
  await host.commit((tx) => tx.put("endpoints", endpointRow(rows, { member: 2, ports })));
  const asked = await Promise.all([
    host.askUdp("outside", addresses.host, 5353),
    host.askUdp("outside", addresses.host6, 5353),
    host.askUdp("host", "127.0.0.1", 5353),
    host.askUdp(2, addresses.host, 5353),
  ]);
  assert.deepEqual(asked, [addresses.outside, addresses.outside6, four(1, 1), four(1, 1)]);
});

it("opens or closes direct ways as the gateway mode says", async () => {
  await using host = await RealHost.open();
  const mode = (value: string) => ({ [`${bridge}.gateway_mode_ipv4`]: value, [`${bridge}.gateway_mode_ipv6`]: value });
  await populate(host, { number: 1, ipv6: true, options: mode("routed") }, [2, 3], everywhere);
  await populate(host, { number: 2, ipv6: true, options: mode("nat-unprotected") }, [4, 5], [web("0.0.0.0", 82)]);
  await populate(host, { number: 3, ipv6: true, options: { [`${bridge}.trusted_host_interfaces`]: "uplink" } }, [6]);
  await populate(host, { number: 4 }, [7]);
  host.serve("outside", 80);
  host.serve(2, 443);
  await assertAnswers(host, [
    ["outside", four(1, 2), 80, addresses.outside],
    ["outside", six(1, 2), 80, addresses.outside6],
    ["outside", four(1, 2), 443, ""],
    ["outside", four(1, 3), 80, ""],
    ["outside", addresses.host, 8080, ""],
    [2, addresses.outside, 80, four(1, 2)],
    [2, addresses.outside6, 80, six(1, 2)],
    ["outside", four(2, 5), 80, addresses.outside],
    ["outside", six(2, 5), 80, addresses.outside6],
    ["outside", addresses.host, 82, addresses.outside],
    [4, addresses.outside, 80, addresses.host],
    [7, four(2, 5), 80, ""],
    ["outside", four(3, 6), 80, addresses.outside],
    ["outside", six(3, 6), 80, addresses.outside6],
    [7, four(3, 6), 80, ""],
  ]);
  assert.ok(await host.pings("outside", four(1, 2)));
  assert.ok(await host.pings("outside", six(1, 2)));
});

it("gives an isolated network not even the host", async () => {
  await using host = await RealHost.open();
  const options = { [`${bridge}.gateway_mode_ipv4`]: "isolated", [`${bridge}.gateway_mode_ipv6`]: "isolated" };
  await populate(host, { number: 1, ipv6: true, internal: true, options }, [2, 3]);
  host.serve("host", 80);
  assert.equal(host.run("host", "ip", "-4", "address", "show", "type", "bridge"), "");
  await assertAnswers(host, [
    [2, four(1, 3), 80, four(1, 2)],
    [2, six(1, 3), 80, six(1, 2)],
    ["host", four(1, 2), 80, ""],
    [2, addresses.host, 80, ""],
  ]);
});

it("obeys DOCKER-USER first, and keeps what users put there", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1 }, [2], everywhere);
  host.serve("outside", 80);
  host.run("host", "nft", "add rule ip tombolo DOCKER-USER iifname uplink drop");
  await assertAnswers(host, [
    ["outside", addresses.host, 8080, ""],
    [2, addresses.outside, 80, ""],
    ["host", addresses.host, 8080, addresses.host],
  ]);
  await host.restart();
  assert.match(host.run("host", "nft", "list chain ip tombolo DOCKER-USER"), /iifname "uplink" drop/);
  host.run("host", "nft", "flush chain ip tombolo DOCKER-USER");
  host.run("host", "nft", `add rule ip tombolo DOCKER-USER ip saddr ${addresses.outside} accept`);
  await assertAnswers(host, [["outside", four(1, 2), 80, addresses.outside]]);
});

it("takes no packet from outside that says to come from a container", async () => {
  await using host = await RealHost.open();
  await populate(host, { number: 1 }, [2], everywhere);
  host.serve("host", 81);
  host.run("outside", "ip", "address", "add", "10.1.0.99/32", "dev", "eth0");
  host.run("host", "ip", "route", "add", "10.1.0.99/32", "dev", "uplink");
  const from = ["-s", "--interface", "10.1.0.99", "--connect-timeout", "0.6"];
  assert.equal(await host.try("outside", "curl", ...from, `http://${addresses.host}:8080/`), undefined);
  assert.equal(await host.try("outside", "curl", ...from, `http://${addresses.host}:81/`), undefined);
  assert.equal(await host.ask("outside", addresses.host, 81), addresses.outside);
});

it("moves the way out to another network with the default route", async () => {
  await using host = await RealHost.open();
  host.serve("outside", 80);
  const [one, two] = [
    networkRows({ number: 1 }),
    networkRows({ number: 2, options: { [`${bridge}.enable_ip_masquerade`]: "false" } }),
  ];
  const [first, second] = [
    endpointRow(one, { member: 2 }),
    endpointRow(two, { member: 3, container: 2, interfaceName: "eth1" }),
  ];
  await host.commit((tx) => {
    putNetwork(tx, one);
    putNetwork(tx, two);
    tx.put("sandboxes", sandboxRow(2, first));
    tx.put("endpoints", first);
    tx.put("endpoints", second);
  });
  await assertAnswers(host, [[2, addresses.outside, 80, addresses.host]]);
  await host.commit((tx) => tx.put("sandboxes", sandboxRow(2, second)));
  await assertAnswers(host, [[2, addresses.outside, 80, four(2, 3)]]);
  await host.commit((tx) => {
    tx.delete("endpoints", second.id);
    tx.put("sandboxes", sandboxRow(2, first));
  });
  await assertAnswers(host, [[2, addresses.outside, 80, addresses.host]]);
  await host.assertClean();
});
