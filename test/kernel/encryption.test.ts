import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encryptedUnderlay } from "../../src/model/plan.ts";
import type { Tunnel } from "../../src/model/network.ts";
import { WireguardGo } from "../../src/wireguard/wireguard-go.ts";
import type { WireguardEnd } from "../../src/model/wireguard.ts";
import type { Transaction } from "../../src/store/store.ts";
import { addresses, RealHost } from "../support/real-host.ts";
import {
  deleteContainer,
  deleteNetwork,
  endpointRow,
  endRow,
  type NetworkRows,
  networkRows,
  peerRow,
  putContainer,
  putNetwork,
} from "../support/rows.ts";
import { until } from "../support/until.ts";
import { canary, CanaryTap, encryptionHere, FarWireguard, ownEndOf } from "../support/wireguard.ts";

const udpPort = 4789;
const vni = 4097;
const [here, there] = [2, 9];
const four = (member: number) => `10.1.0.${member}`;
const six = (member: number) => `fd00:1::${member.toString(16)}`;
const sign = canary.toString(16);

/** A host with one container on an encrypted network, another machine with one, and a tap between the two. */
class Pair implements AsyncDisposable {
  readonly host: RealHost;
  readonly far: FarWireguard;
  readonly tap: CanaryTap;
  readonly rows: NetworkRows;
  readonly link: string;
  readonly at: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "tombolo-wireguard-"));
  /** This host's public keys, by the links that they are used with. */
  readonly keys: Record<string, string> = {};
  #program: WireguardGo | undefined;

  private constructor(host: RealHost, far: FarWireguard, tap: CanaryTap, link: string, isIpv6: boolean) {
    [this.host, this.far, this.tap, this.link] = [host, far, tap, link];
    const local = isIpv6 ? addresses.host6 : addresses.host;
    this.at = isIpv6 ? addresses.outside6 : addresses.outside;
    const encryption = encryptionHere(isIpv6 ? 1420 : 1440);
    const tunnel: Tunnel = { udpPort, local, mtu: isIpv6 ? 1430 : 1450, encryption };
    this.rows = networkRows({ number: 1, driver: "overlay", ipv6: true, vni, tunnel, options: { encrypted: "" } });
    this.keys[link] = host.kernel.newWireguardKey();
    far.know(this.keys[link], local);
  }

  static async open(isIpv6 = false): Promise<Pair> {
    const host = await RealHost.open();
    const name = process.pid.toString(36);
    const far = await FarWireguard.open(`twf${name}`, host.enter("outside"), (...words) =>
      host.run("outside", words[0] ?? "", ...words.slice(1)),
    );
    const tap = new CanaryTap((hear) => host.tap("outside", "eth0", hear));
    return new Pair(host, far, tap, `twg${name}`, isIpv6);
  }

  /** The program that encrypts here, as the daemon has it. */
  start(): void {
    const { store, kernel, dataplane } = this.host;
    const log = { info() {}, warn() {} };
    const links = [this.link];
    this.#program = new WireguardGo({ store, kernel, dataplane, directory: this.#directory, links, log });
    this.#program.start();
  }
  async stop(): Promise<void> {
    await this.#program?.stop();
    this.#program = undefined;
  }

  /** The other machine's end of the generation after its first. */
  nextFar(): Promise<FarWireguard> {
    const { host } = this;
    const run = (...words: string[]) => host.run("outside", words[0] ?? "", ...words.slice(1));
    return FarWireguard.open(`twe${process.pid.toString(36)}`, host.enter("outside"), run, 2);
  }

  async attach(): Promise<void> {
    await this.host.commit((tx) => {
      putNetwork(tx, this.rows);
      putContainer(tx, this.rows, { member: here });
      tx.put("ownEnds", ownEndOf(this.keys, 1));
      this.putPeer(tx);
    });
  }
  readonly #wish = () => ({ member: there, dataPath: this.at, end: this.far.end });
  peer = () => peerRow(this.rows, this.#wish());
  putPeer(tx: Transaction): void {
    tx.put("peers", this.peer());
    tx.put("ends", endRow(this.#wish()) as WireguardEnd);
  }

  /** The other machine's tunnel: the link is its container, too. @param ends the hosts' addresses, by which it goes */
  tunnel(ends: { readonly local: string; readonly remote: string }, name = "far"): void {
    const ip = (words: string) => this.host.run("outside", "ip", ...words.split(" "));
    ip(`link add ${name} type vxlan id ${vni} dstport ${udpPort} local ${ends.local} remote ${ends.remote}`);
    ip(`link set ${name} address ${this.peer().mac} mtu 1350 up`);
    ip(`address add ${four(there)}/16 dev ${name}`);
    ip(`address add ${six(there)}/64 dev ${name} nodad`);
  }
  encryptedTunnel(): void {
    const local = this.far.end.address;
    this.tunnel({ local, remote: this.rows.network.tunnel?.encryption?.address ?? "" });
  }

  pings = (address = four(there), seconds = 1) => this.host.pings(here, address, sign, seconds);

  /** Resolves when a container of this host reaches the other one. */
  async reaches(): Promise<void> {
    await until(
      () => this.pings(),
      () => `reached: ${this.trouble() ?? "nothing was refused"}`,
    );
  }
  async isCutOff(): Promise<void> {
    const both = [four(there), six(there)];
    for (let i = 0; i < 3; i++) assert.deepEqual(await Promise.all(both.map((to) => this.pings(to))), [false, false]);
  }
  /** Nothing that a container said was read on the way, in any phase so far. */
  assertSecret(): void {
    assert.equal(this.tap.canaries, 0, "canaries on the wire");
  }

  trouble = () => this.host.dataplane.errorOf(encryptedUnderlay)?.message;

  /** Pids of the programs that encrypt here. */
  programs(links = Object.keys(this.keys)): number[] {
    return readdirSync("/proc").flatMap((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return line[0] === "wireguard-go" && links.some((link) => line.includes(link)) ? Number(name) : [];
      } catch {
        return [];
      }
    });
  }

  /** In the namespace of the host's end. */
  inUnderlay(...command: string[]): string {
    const path = this.host.kernel.namespacePath(encryptedUnderlay);
    return this.host.run("host", "nsenter", `--net=${path}`, ...command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    for (const pid of this.programs()) process.kill(pid, "SIGTERM");
    await this.far[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true });
  }
}

for (const isIpv6 of [false, true])
  it(`encrypts between hosts with ${isIpv6 ? "IPv6" : "IPv4"}, and leaves nothing`, async () => {
    await using pair = await Pair.open(isIpv6);
    const { host, rows, tap } = pair;
    pair.encryptedTunnel();
    await pair.attach();
    await pair.isCutOff();
    assert.match(pair.trouble() ?? "", /this kernel has no WireGuard .*, and wireguard-go does not run/);
    pair.start();
    await pair.reaches();
    assert.ok(await pair.pings(six(there), 5), "over IPv6, too");
    assert.equal(pair.trouble(), undefined);
    await host.assertClean();
    assert.match(host.run(here, "ip", "link", "show", "eth0"), isIpv6 ? / mtu 1350 / : / mtu 1370 /);
    // The most that the other machine answers: 28 less than its interface's MTU, for the headers of IPv4 and ICMP.
    assert.ok(await host.try(here, "busybox", "ping", "-c1", "-W5", "-s", "1322", four(there)), "large");
    assert.ok(tap.frames > 10);
    pair.assertSecret();
    await host.commit((tx) => {
      deleteContainer(tx, endpointRow(rows, { member: here }));
      tx.delete("peers", pair.peer().id);
      deleteNetwork(tx, rows);
    });
    await host.assertClean();
    assert.deepEqual(host.kernel.namespaces(), []);
    await until(() => pair.programs().length === 0, "no wireguard-go");
    pair.assertSecret();
    assert.ok(await host.pings("host", pair.at, sign));
    assert.notEqual(tap.canaries, 0, "the tap reads what is in clear");
  });

it("loses nothing when the daemon is started again, whatever rules are there", async () => {
  await using pair = await Pair.open();
  const { host } = pair;
  pair.encryptedTunnel();
  await pair.attach();
  pair.start();
  await pair.reaches();
  const key = host.kernel.wireguardKey(pair.link);
  const pings = host.try(here, "busybox", "ping", "-c", "30", "-i", "0.1", "-W", "20", "-p", sign, four(there));
  await pair.stop();
  await host.restart();
  assert.equal(host.kernel.wireguardKey(pair.link), key, "the key is read back");
  assert.deepEqual(host.steps, []);
  pair.start();
  host.run("host", "nft", "flush", "ruleset");
  await host.repaired("the rules");
  assert.match((await pings) ?? "", / 0% packet loss/);
  assert.equal(pair.programs().length, 1, "the same program");
  pair.assertSecret();
});

it("sends nothing while what encrypts is gone, and goes on when it is back", async () => {
  await using pair = await Pair.open();
  const { host, link, rows } = pair;
  pair.encryptedTunnel();
  await pair.attach();
  pair.start();
  await pair.reaches();
  for (const fault of [
    () => pair.programs().forEach((pid) => process.kill(pid, "SIGKILL")),
    () => pair.inUnderlay("ip", "link", "delete", link),
    () => pair.inUnderlay("ip", "-6", "route", "flush", "dev", link),
    () => pair.inUnderlay("ip", "link", "set", link, "down"),
  ]) {
    fault();
    await pair.pings();
    await pair.reaches();
    await host.repaired("the link");
  }
  await pair.stop();
  for (const pid of pair.programs()) process.kill(pid, "SIGKILL");
  await until(() => pair.programs().length === 0, "no wireguard-go");
  // The address that the tunnel speaks with is on another link, and the host has a way to everywhere.
  const address = rows.network.tunnel?.encryption?.address ?? "";
  host.run("host", "ip", "address", "add", `${address}/128`, "dev", "lo");
  for (const family of ["-4", "-6"])
    host.run(
      "host",
      "ip",
      family,
      "route",
      "add",
      "default",
      "via",
      family === "-4" ? addresses.outside : addresses.outside6,
    );
  host.run("host", "nft", "flush", "ruleset");
  await pair.isCutOff();
  pair.assertSecret();
});

it("takes nothing in clear for an encrypted network, whoever sends it, whatever becomes of the rules", async () => {
  await using pair = await Pair.open(true);
  const { host, rows } = pair;
  // A plain network with the same other host: its port is open to that one, in both families.
  const plain = networkRows({
    number: 2,
    driver: "overlay",
    vni: vni + 1,
    tunnel: { udpPort, local: addresses.host6, mtu: 1430 },
  });
  await pair.attach();
  await host.commit((tx) => {
    putNetwork(tx, plain);
    putContainer(tx, plain, { member: 3 });
    tx.put("peers", peerRow(plain, { member: there, dataPath: addresses.outside6 }));
  });
  pair.start();
  const { mac } = endpointRow(rows, { member: here });
  const encrypted = rows.network.tunnel?.encryption?.address ?? "";
  host.run("outside", "ip", "route", "add", `${encrypted}/128`, "via", addresses.host6);
  host.run(here, "nft", "add table inet t; add chain inet t c { type filter hook prerouting priority raw; }");
  host.run(here, "nft", `add rule inet t c ip saddr ${four(there)} counter`);
  for (const [local, remote] of [
    [addresses.outside, addresses.host],
    [addresses.outside6, addresses.host6],
    [addresses.outside6, encrypted],
  ] as const) {
    pair.tunnel({ local, remote }, "clear");
    host.run("outside", "ip", "neigh", "replace", four(here), "lladdr", mac, "dev", "clear");
    for (const _ of [1, 2, 3]) {
      host.run("host", "nft", "flush", "ruleset");
      assert.ok(await host.misses("outside", four(here)), `from ${local} to ${remote}`);
    }
    host.run("outside", "ip", "link", "delete", "clear");
  }
  assert.match(host.run(here, "nft", "list table inet t"), /counter packets 0 /);
  host.run("outside", "ip", "route", "delete", `${encrypted}/128`);
  pair.encryptedTunnel();
  await pair.reaches();
  assert.doesNotMatch(host.run(here, "nft", "list table inet t"), /counter packets 0 /);
});

it("follows another host to a new key, and does not speak to one without", async () => {
  await using pair = await Pair.open();
  const { host, far } = pair;
  pair.encryptedTunnel();
  await pair.attach();
  pair.start();
  await pair.reaches();
  far.changeKey();
  await host.commit((tx) => pair.putPeer(tx));
  await pair.reaches();
  await host.assertClean();
  const { wireguardAddress: _, ...without } = pair.peer();
  await host.commit((tx) => {
    tx.put("peers", without);
    tx.delete("ends", without.nodeId);
  });
  await pair.isCutOff();
  await host.assertClean();
  await host.commit((tx) => pair.putPeer(tx));
  await pair.reaches();
  pair.assertSecret();
});

it("goes over to other keys with nothing lost and nothing in clear, and leaves nothing of those before", async () => {
  await using pair = await Pair.open();
  const { host, far, link } = pair;
  pair.encryptedTunnel();
  await pair.attach();
  pair.start();
  await pair.reaches();
  await using next = await pair.nextFar();
  const other = `twh${link.slice(3)}`;
  const flood = host.try(here, "busybox", "ping", "-c", "500", "-i", "0.01", "-W", "20", "-p", sign, four(there));
  pair.keys[other] = host.kernel.newWireguardKey();
  next.know(pair.keys[other], addresses.host);
  const own = ownEndOf(pair.keys, 1);
  await host.commit((tx) => tx.put("ownEnds", own));
  const end = endRow({ member: there, dataPath: pair.at, end: far.end }) as WireguardEnd;
  const keys = [...far.end.keys, ...next.end.keys];
  await host.commit((tx) => tx.put("ends", { ...end, keys }));
  const answered = () => host.kernel.wireguardAnswers(other).has(next.publicKey);
  await until(answered, "an answer");
  await host.commit((tx) => tx.put("ownEnds", { ...own, answered: { [end.id]: 2 } }));
  const mine = pair.rows.network.tunnel?.encryption?.address ?? "";
  host.run("outside", "ip", "-6", "route", "replace", `${mine}/128`, "dev", next.link);
  await sleep(200);
  await host.commit((tx) => {
    tx.put("ownEnds", { ...own, keys: own.keys.slice(1), sends: 2 });
    tx.put("ends", { ...end, ...next.end });
  });
  assert.equal(host.kernel.link(encryptedUnderlay, link), undefined);
  assert.match((await flood) ?? "", /500 packets received, 0% packet loss/);
  await host.assertClean();
  await until(() => pair.programs([link]).length === 0, "no wireguard-go of the keys before");
  assert.equal(pair.programs().length, 1);
  pair.assertSecret();
});
