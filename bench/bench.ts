/**
 * `npm run bench`: the figures, against Debian's dockerd in the same run, as ratios of medians. Needs root, dockerd and some
 * minutes of a quiet machine. `node bench/bench.ts api run macvlan packets scale swarm overlay services balancing
 * manyServices peers nodes` takes only the parts that are named.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildBusybox } from "../tools/busybox-image.ts";
import { cleanAll, dockerd, Engine, tombolod } from "./engine.ts";
import { median, print, report } from "./figures.ts";
import { nodes } from "./nodes.ts";
import { balancing } from "./balancing.ts";
import { overlay } from "./overlay.ts";
import { peers } from "./peers.ts";
import { manyServices, services } from "./services.ts";
import { swarm } from "./swarm.ts";
import { type Ends, load } from "./traffic.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-bench-"));
const ours = new Engine("tombolo", directory, tombolod);
const theirs = new Engine("dockerd", directory, dockerd);

/** Network create and connect at the API. */
async function api(): Promise<void> {
  const rounds = 21;
  const measure = async (engine: Engine) => {
    engine.docker("run", "-d", "--name", "api", "busybox", "sleep", "1d");
    const create: number[] = [];
    const connect: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      create.push(await engine.timed("POST", "/v1.41/networks/create", { Name: `n${round}` }));
      connect.push(await engine.timed("POST", `/v1.41/networks/n${round}/connect`, { Container: "api" }));
      await engine.timed("POST", `/v1.41/networks/n${round}/disconnect`, { Container: "api" });
      await engine.timed("DELETE", `/v1.41/networks/n${round}`);
    }
    engine.docker("rm", "-f", "api");
    return { create: median(create), connect: median(connect) };
  };
  const [a, b] = [await measure(ours), await measure(theirs)];
  const note = (x: number, y: number) => `${x.toFixed(1)} ms against ${y.toFixed(1)} ms`;
  report("network create", a.create / b.create, 0.4, "low", note(a.create, b.create));
  report("network connect", a.connect / b.connect, 0.4, "low", note(a.connect, b.connect));
}

/** `docker run --rm busybox true` on a user bridge, by the client. */
function run(): void {
  const measure = (engine: Engine) => {
    engine.docker("network", "create", "runs");
    const times = Array.from({ length: 11 }, () => {
      const begun = performance.now();
      engine.docker("run", "--rm", "--network", "runs", "busybox", "true");
      return performance.now() - begun;
    });
    engine.docker("network", "rm", "runs");
    return median(times);
  };
  const [a, b] = [measure(ours), measure(theirs)];
  report("docker run --rm busybox true", a / b, 0.7, "low", `${a.toFixed(0)} ms against ${b.toFixed(0)} ms`);
}

const namespaces: string[] = [];
function makeNamespace(file: string): void {
  writeFileSync(file, "");
  execFileSync("unshare", [`--net=${file}`, "ip", "link", "set", "lo", "up"]);
  namespaces.push(file);
}

const ip = (namespace: string, ...args: string[]) => execFileSync("nsenter", [`--net=${namespace}`, "ip", ...args]);

/**
 * Two namespaces with an interface each that stands on something in a third, the hub.
 * @param prepare makes what they stand on @param attach makes interface eth0 for the namespace of a process
 */
function barePair(
  name: string,
  prepare: (hub: string) => void,
  attach: (hub: string, number: number, pid: string) => void,
): Ends {
  const [hub, server, client] = ["hub", "server", "client"].map((part) => join(directory, `${name}-${part}`)) as [
    string,
    string,
    string,
  ];
  for (const file of [hub, server, client]) makeNamespace(file);
  prepare(hub);
  for (const [file, number] of [
    [server, 1],
    [client, 2],
  ] as const) {
    const holder = spawn("nsenter", [`--net=${file}`, "sleep", "30"]);
    spawnSync("sleep", ["0.1"]);
    attach(hub, number, String(holder.pid));
    holder.kill("SIGKILL");
    ip(file, "address", "add", `10.9.9.${number}/24`, "dev", "eth0");
    ip(file, "link", "set", "eth0", "up");
  }
  return { server, client, address: "10.9.9.1" };
}

/** Two namespaces on a bare bridge. */
const bareBridgePair = () =>
  barePair(
    "bridge",
    (hub) => ip(hub, "link", "add", "br0", "up", "type", "bridge"),
    (hub, number, pid) => {
      const port = ["link", "add", `port${number}`, "up", "master", "br0", "type", "veth"];
      ip(hub, ...port, "peer", "name", "eth0", "netns", pid);
    },
  );

function containerPair(engine: Engine, create: readonly string[] = ["network", "create"]): Ends {
  engine.docker(...create, "load");
  const start = (name: string) => {
    engine.docker("run", "-d", "--name", name, "--network", "load", "busybox", "sleep", "1d");
    return `/proc/${engine.docker("inspect", "-f", "{{.State.Pid}}", name)}/ns/net`;
  };
  const [server, client] = [start("server"), start("client")];
  return {
    server,
    client,
    address: engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.load.IPAddress}}", "server"),
  };
}

async function packets(): Promise<void> {
  const {
    bare,
    ours: a,
    theirs: b,
  } = await load({ bare: bareBridgePair(), ours: containerPair(ours), theirs: containerPair(theirs) });
  const note = (x: number, y: number) => `dockerd ${(x / y).toFixed(2)}`;
  report("TCP throughput, of two bare namespaces", a.stream / bare.stream, 0.95, "high", note(b.stream, bare.stream));
  report("TCP turns, of two bare namespaces", a.turns / bare.turns, 0.95, "high", note(b.turns, bare.turns));
  for (const engine of [ours, theirs]) {
    engine.docker("rm", "-f", "server", "client");
    engine.docker("network", "rm", "load");
  }
}

/** Memory at rest, the 500th connect, and a restart under 200 containers. */
async function scale(): Promise<void> {
  report("the daemon at rest", ours.memory(), 120, "low", "resident", " MiB");
  ours.docker("network", "create", "--subnet", "10.200.0.0/16", "many");
  const connects: number[] = [];
  for (let number = 0; number < 500; number += 1) {
    ours.docker("run", "-d", "--name", `c${number}`, "busybox", "sleep", "1d");
    connects.push(await ours.timed("POST", "/v1.41/networks/many/connect", { Container: `c${number}` }));
    if (number === 199) await restart();
  }
  const [early, late] = [median(connects.slice(5, 16)), median(connects.slice(489, 500))];
  report(
    "the 500th connect, of the 10th",
    late / early,
    1.3,
    "low",
    `${late.toFixed(1)} ms against ${early.toFixed(1)} ms`,
  );
}

async function restart(): Promise<void> {
  const pid = ours.docker("inspect", "-f", "{{.State.Pid}}", "c0");
  const address = ours.docker("inspect", "-f", "{{.NetworkSettings.Networks.many.IPAddress}}", "c1");
  const ping = spawn("nsenter", [`--net=/proc/${pid}/ns/net`, "ping", "-q", "-i", "0.01", "-w", "10", address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  ping.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const over = once(ping, "close");
  await ours.stop();
  const milliseconds = await ours.start();
  await over;
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? [];
  report("restart with 200 containers", milliseconds / 1000, 3, "low", "until it answers", " s");
  report("packets of a 10 ms ping lost meanwhile", Number(sent) - Number(received), 0, "low", `of ${sent}`);
}

/** A cable whose far end leads nowhere: a parent for macvlan in that namespace. */
function cable(namespace: string): void {
  ip(namespace, "link", "add", "lan0", "up", "type", "veth", "peer", "name", "lan1");
  ip(namespace, "link", "set", "lan1", "up");
}

/** Two namespaces with a bare macvlan each on one parent. */
const bareMacvlanPair = () =>
  barePair("macvlan", cable, (hub, number, pid) => {
    ip(hub, "link", "add", `mv${number}`, "link", "lan0", "type", "macvlan", "mode", "bridge");
    ip(hub, "link", "set", `mv${number}`, "netns", pid, "name", "eth0");
  });

/** macvlan: a container's whole life, and the packets between two. */
async function macvlan(): Promise<void> {
  const create = ["network", "create", "-d", "macvlan", "--subnet", "10.66.0.0/16", "-o", "parent=lan0"];
  const times = [ours, theirs].map((engine) => {
    cable(engine.namespace);
    engine.docker(...create, "runs");
    const life = median(
      Array.from({ length: 11 }, () => {
        const begun = performance.now();
        engine.docker("run", "--rm", "--network", "runs", "busybox", "true");
        return performance.now() - begun;
      }),
    );
    engine.docker("network", "rm", "runs");
    return life;
  });
  const [a = Number.NaN, b = Number.NaN] = times;
  report("docker run --rm on macvlan", a / b, 0.6, "low", `${a.toFixed(0)} ms against ${b.toFixed(0)} ms`);
  const {
    bare,
    ours: mine,
    theirs: dockers,
  } = await load({
    bare: bareMacvlanPair(),
    ours: containerPair(ours, create),
    theirs: containerPair(theirs, create),
  });
  for (const what of ["stream", "turns"] as const) {
    const name = what === "stream" ? "macvlan TCP throughput" : "macvlan TCP turns";
    report(`${name}, of dockerd's`, mine[what] / dockers[what], 1, "high", "");
    report(
      `${name}, of two bare macvlans`,
      mine[what] / bare[what],
      0.95,
      "high",
      `dockerd ${(dockers[what] / bare[what]).toFixed(2)}`,
    );
  }
  for (const engine of [ours, theirs]) {
    engine.docker("rm", "-f", "server", "client");
    engine.docker("network", "rm", "load");
  }
}

const parts = { api, run, macvlan, packets, scale } as const;
/** Those that make hosts of their own. */
const ownParts = { swarm, overlay, services, balancing, manyServices, peers, nodes } as const;
const named = process.argv.slice(2);
const chosen = <P>(from: Readonly<Record<string, P>>): P[] =>
  Object.entries(from).flatMap(([name, part]) => (named.length === 0 || named.includes(name) ? [part] : []));

async function startBoth(): Promise<void> {
  const { image } = await buildBusybox(join(directory, "images"));
  for (const engine of [ours, theirs]) {
    await engine.start();
    engine.docker("load", "-i", image);
  }
  await ours.warm();
}

async function end(): Promise<void> {
  await cleanAll();
  for (const file of namespaces) spawnSync("umount", [file], { stdio: "ignore" });
  rmSync(directory, { recursive: true, force: true });
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void end().then(() => process.exit(1)));

try {
  const ofBoth = chosen(parts);
  if (ofBoth.length > 0) await startBoth();
  for (const part of ofBoth) await part();
  for (const engine of [ours, theirs]) await engine.clean();
  for (const part of chosen(ownParts)) await part(directory);
} finally {
  await end();
}
print();
