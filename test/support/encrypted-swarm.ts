import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach } from "node:test";
import { attempt } from "../../src/lab/command.ts";
import { processesIn } from "../../src/lab/processes.ts";
import { until, useSwarm } from "./swarm.ts";
import { canary, type Tap, tapOf } from "./wireguard.ts";

const root = resolve(import.meta.dirname, "../..");
const sign = canary.toString(16);
const link = /tw[gh][0-9a-f]{12}/;

/** What came of a flood of pings. */
export interface Flooded {
  readonly answered: number;
  /** Numbers of those without an answer that were sent before the last one that has one. */
  readonly lost: readonly number[];
}

/** Three hosts whose wires are tapped, for tests of encrypted networks: containers say canaries alone. */
export function useEncryptedSwarm() {
  const swarm = useSwarm();
  const { host, docker, token, joinWith } = swarm;
  const hosts = [1, 2, 3] as const;
  const taps: Tap[] = [];
  const floods = new Set<ChildProcess>();
  const run = (number: number, name: string, network = "net") =>
    host(number).docker("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1d");
  const pings = async (number: number, from: string, to: string) =>
    (await host(number).tryDocker("exec", from, "ping", "-c1", "-W1", "-p", sign, to)).status === 0;
  const reaches = (number: number, from: string, to: string, patience = 15_000) =>
    until(() => pings(number, from, to), patience, `${from} reaches ${to}`);
  const programs = (number: number) =>
    processesIn([host(number).pin]).filter(({ command }) => command.startsWith("wireguard-go "));

  /** As the devices have them, hex; those that are just coming or going are left out. */
  async function privateKeys(number: number): Promise<string[]> {
    const links = programs(number).flatMap(({ command }) => link.exec(command)?.[0] ?? []);
    const ask = (name: string) =>
      `const s = require("net").connect("/run/wireguard/${name}.sock", () => s.write("get=1\\n\\n")); s.on("data", (text) => { process.stdout.write(text); s.end(); })`;
    const said = await Promise.all(links.map((name) => host(number).try(process.execPath, "-e", ask(name))));
    return said.flatMap(({ stdout }) => /private_key=([0-9a-f]{64})/.exec(stdout)?.[1] ?? []);
  }

  /** Fails where one of the private keys is in a file of a host's, or in what its daemon has said. */
  function assertNowhere(number: number, secrets: Iterable<string>): void {
    const { directory, logFile } = host(number);
    const bytes = [...secrets].map((secret) => Buffer.from(secret, "hex"));
    const texts = bytes.flatMap((secret) => [secret, secret.toString("hex"), secret.toString("base64")]);
    const files = globSync(join(directory, "{data,run}/**"), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .filter((path) => !path.startsWith(join(directory, "data/containerd/"))); // images
    for (const path of [logFile, ...files]) {
      const found = readFileSync(path);
      for (const text of texts) assert.ok(!found.includes(text), `a private key is in ${path}`);
    }
  }

  const frames = () => taps.reduce((sum, tap) => sum + tap.frames, 0);
  const canaries = () => taps.reduce((sum, tap) => sum + tap.canaries, 0);

  /** Three hosts in a swarm, their wires tapped, and the network `net`. */
  async function begin(flags: readonly string[], init = ""): Promise<void> {
    for (const number of hosts) taps.push(await tapOf(host(number).pin, "eth0"));
    await docker(1, `swarm init ${init}`);
    const secret = await token("worker");
    for (const number of [2, 3]) await joinWith(number, secret);
    await host(1).docker("network", "create", "-d", "overlay", "--attachable", ...flags, "net");
  }

  /** Pings from a container, a hundred a second. @returns what ends it */
  async function flood(number: number, from: string, to: string) {
    const id = await host(number).docker("inspect", "-f", "{{.Id}}", from);
    const first = host(number).enter()[2];
    const command = ["busybox", "ping", "-i", "0.01", "-W", "2", "-p", sign, to];
    const child = spawn("nsenter", [`--net=/proc/${first}/root/run/tombolo/netns/${id}`, ...command]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const ended = once(child, "close").then(() => floods.delete(child));
    floods.add(child);
    return async (): Promise<Flooded> => {
      child.kill("SIGINT");
      await ended;
      const sent = Number(/(\d+) packets transmitted/.exec(text)?.[1]);
      const answered = new Set([...text.matchAll(/ seq=(\d+) /g)].map(([, number]) => Number(number)));
      const last = Math.max(...answered);
      // The last one may be on its way.
      assert.ok(sent - last <= 2, `${sent} were sent, and the last answer is to number ${last}`);
      const lost = Array.from({ length: last }, (_, number) => number).filter((number) => !answered.has(number));
      return { answered: answered.size, lost };
    };
  }

  /** The address of a container on the network. */
  const addressOf = (number: number, name: string, network = "net") =>
    host(number).docker("inspect", "-f", `{{.NetworkSettings.Networks.${network}.IPAddress}}`, name);

  const tombolo = (number: number, ...words: string[]) =>
    attempt([join(root, "bin/tombolo"), "-H", `unix://${host(number).socket}`, "swarm", ...words]);
  /** @returns what it printed */
  async function rotate(number = 1): Promise<string> {
    const { status, stdout, stderr } = await tombolo(number, "rotate-keys");
    assert.equal(status, 0, stderr);
    return stdout;
  }

  afterEach(async () => {
    for (const child of floods) child.kill(); // of tests that failed
    for (const tap of taps.splice(0)) tap.close();
    for (const number of hosts) {
      if (host(number).state() !== "running") await host(number).start();
      const ids = (await docker(number, "ps -aq")).split("\n").filter(Boolean);
      if (ids.length > 0) await host(number).docker("rm", "-f", ...ids);
      await until(() => programs(number).length === 0, 5000, `no wireguard-go on h${number}`);
    }
  });
  return {
    ...swarm,
    hosts,
    taps,
    run,
    pings,
    reaches,
    programs,
    privateKeys,
    assertNowhere,
    frames,
    canaries,
    begin,
    flood,
    addressOf,
    tombolo,
    rotate,
  };
}
