import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { processesIn } from "../../src/lab/processes.ts";
import { until, useSwarm } from "../support/swarm.ts";
import { canary, type Tap, tapOf } from "../support/wireguard.ts";

const sign = canary.toString(16);
const link = /twg[0-9a-f]{12}/;

describe("encrypted networks of the lab's hosts", () => {
  const { host, docker, token, joinWith } = useSwarm();
  const hosts = [1, 2, 3] as const;
  const taps: Tap[] = [];
  const run = (number: number, name: string, network: string) =>
    host(number).docker("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1d");
  const pings = async (number: number, from: string, to: string) =>
    (await host(number).tryDocker("exec", from, "ping", "-c1", "-W1", "-p", sign, to)).status === 0;
  const reaches = (number: number, from: string, to: string) =>
    until(() => pings(number, from, to), 15_000, `${from} reaches ${to}`);
  const programs = (number: number) =>
    processesIn([host(number).pin]).filter(({ command }) => command.startsWith("wireguard-go "));
  /** As the device has it, hex. */
  async function privateKey(number: number): Promise<string> {
    const name = link.exec(programs(number)[0]?.command ?? "")?.[0] ?? "";
    const ask = `const s = require("net").connect("/run/wireguard/${name}.sock", () => s.write("get=1\\n\\n")); s.on("data", (text) => { process.stdout.write(text); s.end(); })`;
    const said = await host(number).run(process.execPath, "-e", ask);
    return /private_key=([0-9a-f]{64})/.exec(said)?.[1] ?? "";
  }
  const inspected = (number: number, network: string) => host(number).docker("network", "inspect", network);
  const canaries = () => taps.reduce((sum, tap) => sum + tap.canaries, 0);

  async function swarm(...flags: string[]): Promise<void> {
    for (const number of hosts) taps.push(await tapOf(host(number).pin, "eth0"));
    await docker(1, "swarm init");
    const secret = await token("worker");
    for (const number of [2, 3]) await joinWith(number, secret);
    await host(1).docker("network", "create", "-d", "overlay", "--attachable", ...flags, "net");
  }
  afterEach(async () => {
    for (const tap of taps.splice(0)) tap.close();
    for (const number of hosts) {
      if (host(number).state() !== "running") await host(number).start();
      const ids = (await docker(number, "ps -aq")).split("\n").filter(Boolean);
      if (ids.length > 0) await host(number).docker("rm", "-f", ...ids);
      await until(() => programs(number).length === 0, 5000, `no wireguard-go on h${number}`);
    }
  });

  it("carry containers of all hosts without a word in clear, and end with the last container", async () => {
    await swarm("--opt", "encrypted");
    for (const number of hosts) await run(number, `c${number}`, "net");
    for (const from of hosts) for (const to of hosts) await reaches(from, `c${from}`, `c${to}`);
    for (const number of hosts) {
      assert.equal(programs(number).length, 1, `h${number}`);
      assert.match(
        await host(number).docker("info", "--format", "{{json .Warnings}}"),
        /WARNING: encrypted networks go through wireguard-go/,
      );
    }
    assert.ok(taps.every(({ frames }) => frames > 10));
    assert.equal(canaries(), 0, "canaries on the wire");
    await docker(3, "rm -f c3");
    await until(() => programs(3).length === 0, 5000, "h3 needs it no more");
    assert.ok(await pings(1, "c1", "c2"));
    // A host that leaves and comes back is another node, with the same key.
    await docker(3, "swarm leave");
    await joinWith(3, await token("worker"));
    await run(3, "d3", "net");
    await reaches(3, "d3", "c1");
    assert.equal(canaries(), 0, "canaries on the wire");
  });

  it("go on while daemons are started again, and have their keys in memory alone", async () => {
    await swarm("--opt", "encrypted");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    const before = programs(2);
    const id = await host(1).docker("inspect", "-f", "{{.Id}}", "a");
    const to = await host(2).docker("inspect", "-f", "{{.NetworkSettings.Networks.net.IPAddress}}", "b");
    const ping = ["busybox", "ping", "-c", "80", "-i", "0.1", "-W", "1", "-p", sign, to];
    const counted = host(1).run("nsenter", `--net=/run/tombolo/netns/${id}`, ...ping);
    for (const number of [2, 1] as const) {
      await host(number).kill();
      await host(number).start();
    }
    assert.match(await counted, / 0% packet loss/);
    assert.deepEqual(programs(2), before, "the same program");
    assert.ok(await pings(2, "b", "a"));
    assert.equal(canaries(), 0, "canaries on the wire");
    const secret = Buffer.from(await privateKey(2), "hex");
    assert.equal(secret.length, 32);
    const { directory, logFile } = host(2);
    const files = [logFile, ...globSync(join(directory, "{data,run}/**"), { withFileTypes: false })];
    for (const path of files.filter((file) => existsSync(file))) assertWithout(path, secret);
  });

  it("send nothing while wireguard-go is gone, say why, and go on when it is back", async () => {
    await swarm("--opt", "encrypted");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    const program = "/usr/bin/wireguard-go";
    // On this host it cannot be started again.
    await host(2).run("mount", "--bind", "/dev/null", program);
    for (const { pid } of programs(2)) process.kill(pid, "SIGKILL");
    await sleep(300);
    assert.ok(!(await pings(2, "b", "a")));
    assert.ok(!(await pings(1, "a", "b")));
    await until(async () => /wireguard-go does not run/.test(await inspected(2, "net")), 5000, "inspect says why");
    assert.match(
      (await host(2).tryDocker("run", "--rm", "--network", "net", "busybox", "true")).stderr,
      /encrypted networks are not possible on this host: this kernel has no WireGuard/,
    );
    assert.match(
      await host(2).docker("info", "--format", "{{json .Warnings}}"),
      /encrypted networks end with this host/,
    );
    await host(2).run("umount", program);
    await reaches(1, "a", "b");
    assert.equal(canaries(), 0, "canaries on the wire");
  });

  it("have a new pair of keys after a restart of the machine, which the others hear of", async () => {
    await swarm("--opt", "encrypted");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    const before = await privateKey(2);
    await host(2).kill();
    for (const { pid } of programs(2)) process.kill(pid, "SIGKILL");
    await host(2).start();
    await reaches(2, "b", "a");
    await reaches(1, "a", "b");
    assert.notEqual(await privateKey(2), before);
    assert.equal(canaries(), 0, "canaries on the wire");
  });

  it("do not hold up the daemon while wireguard-go stands still", async () => {
    await swarm("--opt", "encrypted");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    const all = programs(2);
    for (const { pid } of all) process.kill(pid, "SIGSTOP");
    try {
      await docker(1, "rm -f a");
      await run(1, "a", "net");
      const began = Date.now();
      await docker(2, "ps");
      assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`);
      assert.ok(!(await pings(2, "b", "a")));
    } finally {
      for (const { pid } of all) process.kill(pid, "SIGCONT");
    }
    await reaches(2, "b", "a");
    assert.equal(canaries(), 0, "canaries on the wire");
  });

  it("are plain with --opt encrypted=false", async () => {
    await swarm("--opt", "encrypted=false");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    assert.notEqual(canaries(), 0, "the tap reads what is in clear");
    assert.equal(programs(1).length, 0);
  });
});

function assertWithout(path: string, secret: Buffer): void {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return; // a directory, a socket
  }
  for (const text of [secret, secret.toString("hex"), secret.toString("base64")])
    assert.ok(!bytes.includes(text), `the private key is in ${path}`);
}
