import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import packet from "dns-packet";
import { readResolvConf } from "../../src/daemon/host.ts";
import { frame } from "../../src/dns/wire.ts";
import { inside, useHost } from "../support/daemon.ts";
import { calmTime, until } from "../support/until.ts";

const host = useHost();
const docker = (line: string) => host().docker(...line.split(/ +/));
const sleeper = (name: string, flags: string) => docker(`run -d --name ${name} ${flags} busybox sleep 1d`);
/** What busybox finds for a name or an address, over UDP; nothing when it finds nothing. */
async function lookup(container: string, name: string): Promise<string> {
  const { status, stdout } = await host().try(["exec", container, "nslookup", name]);
  return status === 0 ? stdout.replace(/^Server:[^]*?\n\s*\n/, "") : "";
}
/** Runs a line of Node inside a container's namespace, with all its modules at hand. @returns what it printed */
const node = async (container: string, line: string) =>
  inside(await host().sandboxOf(container), process.execPath, "-e", line).trim();
/** Addresses of a name, over UDP and then TCP when the answer is long. @returns how many, or the error's code */
const resolve4 = (container: string, name: string) =>
  node(
    container,
    `const r = new dns.promises.Resolver(); r.setServers(["127.0.0.11"]); r.resolve4("${name}").then((all) => console.log(all.length), (e) => console.log(e.code))`,
  );
/** Addresses of a name, over TCP. */
async function overTcp(container: string, name: string): Promise<string[]> {
  const query = frame(packet.encode({ type: "query", id: 7, flags: 256, questions: [{ name, type: "A" }] }));
  const line = `net.connect(53, "127.0.0.11").setEncoding("hex").on("data", (hex) => process.stdout.write(hex)).end("${query.toString("hex")}", "hex")`;
  const answer = packet.decode(Buffer.from(await node(container, line), "hex").subarray(2));
  return (answer.answers ?? []).map((a) => (a.type === "A" ? a.data : a.type));
}

/** The sockets that a process has open, each by its kernel's name. */
const openSockets = (pid: number) =>
  new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
        return target.startsWith("socket:") ? [target] : [];
      } catch {
        return []; // closed since the listing
      }
    }),
  );

/** Every name that a name server of the test was asked. */
const asked: string[] = [];
async function nameServer(namespace: string, ...addresses: string[]): Promise<void> {
  const program = join(import.meta.dirname, "../support/name-server.ts");
  const child = host().background(namespace, process.execPath, program, ...addresses);
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on("data", (chunk: Buffer) => reject(new Error(chunk.toString())));
    child.stdout?.on("data", (chunk: Buffer) => {
      asked.push(...chunk.toString().trim().split("\n"));
      if (asked.includes("ready")) resolve();
    });
  });
}

it("the default bridge has the host's name servers and no names; a network has the resolver before them", async () => {
  const { servers } = readResolvConf(readFileSync("/etc/resolv.conf", "utf8"));
  const conf = (flags: string) => docker(`run --rm ${flags} busybox cat /etc/resolv.conf`);
  await docker("network create --ipv6 --subnet 10.67.0.0/24 --subnet fd67::/64 net");
  assert.deepEqual(
    readResolvConf(await conf("")).servers,
    servers.filter((s) => !/^127\.|^::1$/.test(s)),
  );
  const own = await conf("--network net");
  assert.deepEqual(readResolvConf(own).servers, ["127.0.0.11"]);
  assert.ok(own.endsWith(`asked of: ${servers.join(" ") || "nobody"}`), own);
});

describe("with name servers on the host's loopback and outside", () => {
  before(async () => {
    await nameServer(host().namespace, "127.0.0.53");
    await nameServer(host().outside, "198.51.100.2");
    await nameServer(host().outside, "2001:db8::2");
    const id = await sleeper("old", "--network net");
    await host().stopDaemon();
    const flags = ["127.0.0.53", "198.51.100.2", "2001:db8::2"].flatMap((server) => ["--dns", server]);
    await host().startDaemon({}, flags);
    assert.match(await lookup("old", id.slice(0, 12)), /10\.67\.0\./, "after a restart");
    await docker("network create --subnet 10.68.0.0/24 other");
    await sleeper("c", "--network net");
  });

  it("containers have a name, a short id, a hostname and aliases, alone or before the network's, IPv4 and IPv6", async () => {
    const id = await sleeper("a", "--network net --ip 10.67.0.7 --ip6 fd67::7 --network-alias Also --hostname ahost");
    asked.length = 0;
    for (const name of ["a", "also", "ahost", id.slice(0, 12), "a.net", "A.Net"]) {
      const found = await lookup("c", name);
      assert.deepEqual(found.match(/(?<=Address(?: \d)?: *)\S+/g)?.toSorted(), ["10.67.0.7", "fd67::7"], found);
      assert.deepEqual(await overTcp("c", name), ["10.67.0.7"]);
    }
    for (const address of ["10.67.0.7", "fd67::7"]) assert.match(await lookup("c", address), /\ba\.net\b/);
    assert.deepEqual(asked, [], "own names are nobody else's business");
  });

  it("a container sees the names of its own networks, as they are now, and its own links", async () => {
    await sleeper("b", "--network other --ip 10.68.0.9");
    assert.equal(await lookup("c", "b"), "");
    await docker("network connect --alias bee net b");
    assert.match(await lookup("c", "bee"), /10\.67\.0\./);
    await docker("network disconnect net b");
    assert.equal(await lookup("c", "bee"), "");
    await docker("network connect --link b:shop other c");
    assert.match(await lookup("c", "shop"), /10\.68\.0\.9/);
    assert.equal(await lookup("b", "shop"), "");
  });

  it("other names are asked of the servers in order, those on the host's loopback from the host", async () => {
    assert.match(await lookup("c", "who.127.0.0.53"), /127\.0\.0\.1\b/);
    assert.match(await lookup("c", "who.198.51.100.2"), /198\.51\.100\.1\b/);
    assert.match(await lookup("c", "who.2001:db8::2"), /2001:db8::1\b/);
    assert.deepEqual(await overTcp("c", "who.198.51.100.2"), ["198.51.100.1"]);
    assert.equal(await resolve4("c", "nowhere.example"), "ENOTFOUND");
    assert.equal(await resolve4("c", "fail.example"), "ESERVFAIL");
  });

  it("an answer too long for UDP comes over TCP", async () => {
    await sleeper("long", "--network net --dns 198.51.100.2");
    assert.equal(await resolve4("long", "big.example"), "300");
    assert.equal((await overTcp("long", "big.example")).length, 300);
  });

  it("an internal network has its own names, and no others: not even through the host", async () => {
    await docker("network create --internal --subnet 10.69.0.0/24 in");
    await sleeper("i", "--network in");
    assert.match(await lookup("i", "i.in"), /10\.69\.0\./);
    asked.length = 0;
    const begun = calmTime();
    assert.equal(await resolve4("i", "who.127.0.0.53"), "ESERVFAIL");
    assert.ok(calmTime() - begun < 3000, "known at once");
    assert.deepEqual(asked, []);
  });

  it("questions under way when the container goes leave nothing behind", async () => {
    await sleeper("s", "--network net --dns 198.51.100.2");
    const sockets = () => openSockets(host().pid);
    const before = sockets();
    const query = packet.encode({ type: "query", questions: [{ name: "silent.example", type: "A" }] }).toString("hex");
    const line = `const s = dgram.createSocket("udp4"); for (let n = 0; n < 50; n++) s.send(Buffer.from("${query}", "hex"), 53, "127.0.0.11")`;
    const client = host().background(await host().sandboxOf("s"), process.execPath, "-e", line);
    let waiting = new Set<string>();
    await until(
      () => (waiting = sockets().difference(before)).size >= 50,
      () => `${waiting.size} of 50 questions asked`,
    );
    client.kill("SIGKILL");
    await docker("rm -f s");
    await until(
      () => (waiting = waiting.intersection(sockets())).size === 0,
      () => `left: ${[...waiting].join(" ")}`,
    );
  });
});
