import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { afterEach } from "node:test";
import { attempt } from "../../src/lab/command.ts";
import { processesIn } from "../../src/lab/processes.ts";
import { useSwarm } from "./swarm.ts";
import { tapOf } from "./tap.ts";
import { until } from "./until.ts";
import { canary, CanaryTap } from "./wireguard.ts";

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
  const { host, docker, token, address, empty } = swarm;
  const hosts = [1, 2, 3] as const;
  const taps: CanaryTap[] = [];
  const floods = new Set<ChildProcess>();
  const run = (number: number, name: string, network = "net") =>
    host(number).docker("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1d");
  const pings = async (number: number, from: string, to: string, seconds = 1) =>
    (await host(number).tryDocker("exec", from, "ping", "-c1", "-W", `${seconds}`, "-p", sign, to)).status === 0;
  const reaches = (number: number, from: string, to: string, milliseconds?: number) =>
    until(() => pings(number, from, to), `${from} reaches ${to}`, milliseconds);
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

  /** Names of the programs of a host in whose memory one of the private keys is, hex. */
  async function holdersOf(number: number, secrets: Iterable<string>): Promise<string[]> {
    const texts = [...secrets].flatMap((secret) => [Buffer.from(secret, "hex"), Buffer.from(secret)]);
    const found = host(number)
      .processes()
      .map(async ({ pid, command }) =>
        (await hasInMemory(pid, texts)) ? [basename(command.split(" ")[0] ?? "")] : [],
      );
    return [...new Set((await Promise.all(found)).flat())].toSorted();
  }

  /** How many have come to a container. Other counters grow by what its kernel asks and is asked of itself. */
  async function echoRequests(number: number, name: string): Promise<number> {
    const table = await host(number).docker("exec", name, "cat", "/proc/net/snmp");
    const [names, values] = table.split("\n").flatMap((line) => (line.startsWith("Icmp: ") ? [line.split(" ")] : []));
    return Number(values?.[names?.indexOf("InEchos") ?? -1]);
  }

  const frames = () => taps.reduce((sum, tap) => sum + tap.frames, 0);
  const canaries = () => taps.reduce((sum, tap) => sum + tap.canaries, 0);

  /**
   * Three hosts in a swarm, their wires tapped, and the network `net`.
   * @param flags of the network @param init those of `swarm init` @param isOver6 true: the hosts' tunnels go by IPv6
   */
  async function begin(flags: readonly string[], init = "", isOver6 = false): Promise<void> {
    for (const number of hosts) taps.push(new CanaryTap((hear) => tapOf(host(number).pin, "eth0", hear)));
    const path = (number: number) =>
      isOver6 ? `--advertise-addr ${host(number).address} --data-path-addr ${host(number).address6}` : "";
    await docker(1, `swarm init ${init} ${path(1)}`);
    const secret = await token("worker");
    await Promise.all(
      [2, 3].map((number) => docker(number, `swarm join --token ${secret} ${path(number)} ${address(1)}`)),
    );
    await host(1).docker("network", "create", "-d", "overlay", "--attachable", ...flags, "net");
  }

  /** Where a container's namespace is, seen from outside of its host. */
  async function namespaceOf(number: number, name: string): Promise<string> {
    const id = await host(number).docker("inspect", "-f", "{{.Id}}", name);
    return `/proc/${host(number).enter()[2]}/root/run/tombolo/netns/${id}`;
  }

  /** Pings from a container, a hundred a second. @returns what ends it */
  async function flood(number: number, from: string, to: string) {
    const command = ["busybox", "ping", "-i", "0.01", "-W", "2", "-p", sign, to];
    const child = spawn("nsenter", [`--net=${await namespaceOf(number, from)}`, ...command]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const answers = () => new Set([...text.matchAll(/ seq=(\d+) /g)].map(([, number]) => Number(number)));
    const ended = once(child, "close").then(() => floods.delete(child));
    floods.add(child);
    return async (): Promise<Flooded> => {
      // What is on its way now is answered, or lost, before some more are answered.
      const before = answers().size;
      await until(() => answers().size > before + 50, "pings are answered");
      child.kill("SIGINT");
      await ended;
      const answered = answers();
      const last = Math.max(...answered);
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
    await Promise.all(hosts.map(empty));
    await until(() => hosts.every((number) => programs(number).length === 0), "no wireguard-go");
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
    holdersOf,
    echoRequests,
    frames,
    canaries,
    begin,
    namespaceOf,
    flood,
    addressOf,
    tombolo,
    rotate,
  };
}

/** Looks through what a process can write to. */
async function hasInMemory(pid: number, texts: readonly Buffer[]): Promise<boolean> {
  const maps = await readFile(`/proc/${pid}/maps`, "utf8");
  const memory = await open(`/proc/${pid}/mem`);
  try {
    for (const [, from = "", to = ""] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm)) {
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      if (start > Number.MAX_SAFE_INTEGER) continue;
      for (let at = start; at < end; at += chunk) {
        const bytes = Buffer.alloc(Math.min(chunk, end - at));
        const { bytesRead } = await memory.read(bytes, 0, bytes.length, at).catch(() => ({ bytesRead: 0 }));
        if (texts.some((text) => bytes.subarray(0, bytesRead).includes(text))) return true;
      }
    }
    return false;
  } finally {
    await memory.close();
  }
}
const chunk = 16 << 20; // bytes
