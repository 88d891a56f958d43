import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { leafFor, leafSize } from "../../src/engine/leaves.ts";
import type { Transaction } from "../../src/store/store.ts";
import { packetsDropped, raiseLimits } from "../support/host-limits.ts";
import { addresses, RealHost } from "../support/real-host.ts";
import { endpointRow, idOf, type NetworkRows, networkRows, peerRow, putNetwork, sandboxRow } from "../support/rows.ts";
import type { SecondHost } from "../support/second-host.ts";

/** Containers 2 to 2,011 of this host are on the root and two leaves of each network, 2,012 to 2,031 on another host. */
const first = 2;
const last = first + 2 * leafSize + 9;
const lastThere = last + 20;
const udpPort = 4789;
const vni = 4097;
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const addressOn = (network: number, member: number) => `10.${network}.${member >> 8}.${member & 0xff}`;

const bridge = networkRows({ number: 1, ipv6: true });
const overlay = networkRows({
  number: 2,
  driver: "overlay",
  vni,
  tunnel: { udpPort, local: addresses.host, mtu: 1450 },
});
/** The same network as `docker_gwbridge` is: its containers do not reach each other. */
const apart = networkRows({ number: 1, ipv6: true, options: { "com.docker.network.bridge.enable_icc": "false" } });

/** A container on both networks, each on the bridge that has a place. */
function putOne(tx: Transaction, member: number): void {
  const [one, two] = [bridge, overlay].map((rows, at) => {
    const leaf = leafFor(tx, rows.network);
    return endpointRow(rows, { member, interfaceName: `eth${at}`, ...(leaf !== undefined && { leaf }) });
  });
  tx.put("sandboxes", sandboxRow(member, one));
  for (const endpoint of [one, two]) if (endpoint !== undefined) tx.put("endpoints", endpoint);
}

/** The network as it would have been with other options: what hangs on it is planned anew. */
function putInstead(tx: Transaction, rows: NetworkRows): void {
  putNetwork(tx, rows);
  for (const endpoint of tx.where("endpoints", "network", rows.network.id))
    tx.put("endpoints", { ...endpoint, names: [] });
}

/** Pings addresses, some every millisecond. @returns those that answered */
function answering(enter: readonly string[], targets: readonly string[], seconds = 3): Promise<string[]> {
  const [command = "", ...words] = enter;
  return new Promise((resolve, reject) => {
    const options = ["-a", "-r", "0", "-t", String(seconds * 1000), "-i", "0.3"];
    const ping = execFile(command, [...words, "fping", ...options], (error, stdout, stderr) => {
      // 1: not all answered.
      if (error !== null && error.code !== 1) reject(new Error(stderr, { cause: error }));
      else resolve(stdout.split("\n").filter((line) => line !== ""));
    });
    ping.stdin?.end(targets.join("\n"));
  });
}

/** Pings from one after the other. @returns who of each one's targets did not answer */
async function unreached(froms: readonly (readonly string[])[], targets: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const enter of froms) {
    const found = new Set(await answering(enter, targets));
    missing.push(...targets.filter((target) => !found.has(target)).map((target) => `${enter.at(-1)}: ${target}`));
  }
  return missing;
}

/** The other host of the overlay, in a process of its own. */
async function openSecond(host: RealHost): Promise<AsyncDisposable & { enter(member: number): string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "tombolo-second-"));
  const tunnel = { udpPort, local: addresses.outside, mtu: 1450 };
  const rows = { ...overlay, network: { ...overlay.network, tunnel } };
  const directory = join(folder, "netns");
  const wish: SecondHost = {
    directory,
    rows,
    endpoints: range(last + 1, lastThere).map((member) => [member, endpointRow(rows, { member })] as const),
    peers: range(first, last).map((member) => peerRow(rows, { member, dataPath: addresses.host })),
  };
  const file = join(folder, "rows.json");
  writeFileSync(file, JSON.stringify(wish));
  const program = join(import.meta.dirname, "../support/second-host.ts");
  const [command = "", ...words] = [...host.enter("outside"), process.execPath, program, file];
  const child = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (text) => (said += String(text)));
  await once(child.stdout, "data");
  assert.equal(said, "ready\n");
  return {
    enter: (member) => ["nsenter", `--net=${join(directory, idOf("5", member))}`],
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await once(child, "close");
      rmSync(folder, { recursive: true });
      assert.equal(said, "ready\ndifferences: 0\n");
    },
  };
}

it("2,010 containers of a host reach each other and another host's, by a bridge network and an overlay", async (test) => {
  const note = (text: string) => test.diagnostic(`${Math.round(performance.now() - start)} ms: ${text}`);
  const start = performance.now();
  using _limits = raiseLimits(2 * (last - first + 1));
  await using host = await RealHost.open();
  await host.commit((tx) => [bridge, overlay].forEach((rows) => putNetwork(tx, rows)));
  for (let from = first; from <= last; from += 200)
    await host.commit((tx) => range(from, Math.min(from + 199, last)).forEach((member) => putOne(tx, member)));
  note("containers are there");
  await host.commit((tx) => {
    for (const member of range(last + 1, lastThere))
      tx.put("peers", peerRow(overlay, { member, dataPath: addresses.outside }));
  });
  await using second = await openSecond(host);
  note("another host is there");

  /** The first and the last container of each of the three bridges, and some between. */
  const bridges = [first, first + leafSize, first + 2 * leafSize];
  const some = bridges.flatMap((at) => [at, at + 4, at + 9]);
  const enter = some.map((member) => host.enter(member));
  const there = [second.enter(last + 1), second.enter(lastThere)];
  const dropped = packetsDropped();

  const all = range(first, last);
  const on = (network: number, members: readonly number[]) => members.map((member) => addressOn(network, member));
  assert.deepEqual(await unreached(enter, on(1, all)), []);
  note("bridge: reached");
  assert.deepEqual(await unreached([...enter, ...there], on(2, range(first, lastThere))), []);
  note("overlay: reached");
  const six = some.map((member) => `fd00:1::${member.toString(16)}`);
  assert.deepEqual(await unreached(enter, six), []);
  note("bridge, IPv6: reached");
  await host.commit((tx) => putInstead(tx, apart));
  for (const [at, member] of bridges.entries())
    assert.deepEqual(await answering(host.enter(member), on(1, [1, ...all]), 1), on(1, [1, member]), `bridge ${at}`);
  const others = all.filter((member) => member % 50 === 0).map((member) => host.enter(member));
  assert.deepEqual(await unreached(others, [addresses.outside]), []);
  note("bridge without traffic between containers: the world is reached, nobody else");
  assert.equal(packetsDropped() - dropped, 0, "packets were dropped");
  await host.assertClean();
  note("audited");
});
