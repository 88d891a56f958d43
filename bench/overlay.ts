import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buildBusybox } from "../tools/busybox-image.ts";
import { dockerd, type Engine, tombolod } from "./engine.ts";
import { median, report, tell } from "./figures.ts";
import { Pair } from "./pair.ts";
import { type Ends, load } from "./traffic.ts";

const rounds = 11;
const attaches = 100;
const network = "load";
const encrypted = "vault";
const ip = (namespace: string, ...args: string[]) => execFileSync("nsenter", [`--net=${namespace}`, "ip", ...args]);

/** A swarm of two hosts with a network, and the image on both. */
async function begin(pair: Pair, image: string): Promise<void> {
  const [here, there] = pair.addresses;
  pair.first.docker("swarm", "init", "--advertise-addr", here);
  const secret = pair.first.docker("swarm", "join-token", "-q", "worker");
  pair.second.docker("swarm", "join", "--advertise-addr", there, "--token", secret, `${here}:2377`);
  for (const engine of [pair.first, pair.second]) engine.docker("load", "-i", image);
  pair.first.docker("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.200.0.0/16", network);
}

function runs({ second }: Pair): number {
  const times = Array.from({ length: rounds }, () => {
    const begun = performance.now();
    second.docker("run", "--rm", "--network", network, "busybox", "true");
    return performance.now() - begun;
  });
  return median(times);
}

function start(engine: Engine, name: string, on: string): string {
  engine.docker("run", "-d", "--name", name, "--network", on, "busybox", "sleep", "1d");
  return `/proc/${engine.docker("inspect", "-f", "{{.State.Pid}}", name)}/ns/net`;
}
const addressOf = (engine: Engine, name: string, on = network) =>
  engine.docker("inspect", "-f", `{{.NetworkSettings.Networks.${on}.IPAddress}}`, name);

/** Milliseconds after the answer to `network connect` on one host until the container answers the other one, sorted. */
async function reaches({ first, second }: Pair): Promise<number[]> {
  start(first, "come", "bridge");
  const namespace = start(second, "ask", network);
  const script = join(import.meta.dirname, "reach.ts");
  const prober = spawn("nsenter", [`--net=${namespace}`, process.execPath, script], { stdio: "pipe" });
  const lines = createInterface({ input: prober.stdout });
  const times: number[] = [];
  for (let count = 0; count < attaches; count += 1) {
    await first.call("POST", `/v1.41/networks/${network}/connect`, { Container: "come" });
    prober.stdin.write(`${addressOf(first, "come")}\n`);
    times.push(Number((await once(lines, "line"))[0]));
    await first.call("POST", `/v1.41/networks/${network}/disconnect`, { Container: "come" });
  }
  prober.kill();
  first.docker("rm", "-f", "come");
  second.docker("rm", "-f", "ask");
  return times.toSorted((a, b) => a - b);
}

function ends({ first, second }: Pair, on = network): Ends {
  const [server, client] = [start(first, `server-${on}`, on), start(second, `client-${on}`, on)];
  return { server, client, address: addressOf(first, `server-${on}`, on) };
}
function encryptedEnds(pair: Pair): Ends {
  const make = ["network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted"];
  pair.first.docker(...make, "--subnet", "10.201.0.0/16", encrypted);
  return ends(pair, encrypted);
}

/** A VXLAN device in each of two namespaces, and nothing else between them but a cable. */
function bareVxlan(directory: string): Ends & { readonly namespaces: readonly string[] } {
  const [server, client] = ["vxlan-server", "vxlan-client"].map((name) => join(directory, name)) as [string, string];
  for (const file of [server, client]) {
    writeFileSync(file, "");
    execFileSync("unshare", [`--net=${file}`, "ip", "link", "set", "lo", "up"]);
  }
  const holder = spawn("nsenter", [`--net=${client}`, "sleep", "30"]);
  spawnSync("sleep", ["0.1"]);
  ip(server, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", String(holder.pid));
  holder.kill("SIGKILL");
  for (const [at, file] of [server, client].entries()) {
    ip(file, "address", "add", `192.0.2.${at + 1}/24`, "dev", "eth0");
    ip(file, "link", "set", "eth0", "up");
    const remote = ["local", `192.0.2.${at + 1}`, "remote", `192.0.2.${2 - at}`, "dstport", "4789", "nolearning"];
    ip(file, "link", "add", "vxlan0", "mtu", "1450", "type", "vxlan", "id", "42", ...remote);
    ip(file, "address", "add", `10.9.9.${at + 1}/24`, "dev", "vxlan0");
    ip(file, "link", "set", "vxlan0", "up");
  }
  return { server, client, address: "10.9.9.1", namespaces: [server, client] };
}

/** Overlay networks over two hosts, against dockerd's and against a bare VXLAN device. */
export async function overlay(directory: string): Promise<void> {
  const { image } = await buildBusybox(join(directory, "images"));
  await using ours = await Pair.start("tombolod-overlay", directory, tombolod);
  await using theirs = await Pair.start("dockerd-overlay", directory, dockerd);
  for (const pair of [ours, theirs]) await begin(pair, image);
  const [a, b] = [runs(ours), runs(theirs)];
  report("overlay: docker run --rm busybox true", a / b, 0.4, "low", `${a.toFixed(0)} ms against ${b.toFixed(0)} ms`);
  const times = await reaches(ours);
  report(
    "overlay: reached from the other host (p99)",
    times.at(-2) ?? Number.NaN,
    50,
    "low",
    `median ${median(times).toFixed(1)} ms`,
    " ms",
  );
  const bare = bareVxlan(directory);
  const {
    ours: x,
    theirs: y,
    bare: z,
    secret,
  } = await load({ bare, ours: ends(ours), theirs: ends(theirs), secret: encryptedEnds(ours) });
  for (const file of bare.namespaces) spawnSync("umount", [file]);
  report(
    "overlay: TCP throughput, of dockerd's",
    x.stream / y.stream,
    1,
    "high",
    `${(x.stream / 125_000).toFixed(0)} Mbit/s`,
  );
  report("overlay: TCP turns, of dockerd's", x.turns / y.turns, 1.05, "high", `${x.turns.toFixed(0)} a second`);
  report(
    "overlay: TCP throughput, of bare VXLAN",
    x.stream / z.stream,
    0.95,
    "high",
    `dockerd ${(y.stream / z.stream).toFixed(2)}`,
  );
  report(
    "overlay: TCP turns, of bare VXLAN",
    x.turns / z.turns,
    0.95,
    "high",
    `dockerd ${(y.turns / z.turns).toFixed(2)}`,
  );
  const turns = `turns ${(secret.turns / x.turns).toFixed(2)}`;
  tell("overlay: encrypted TCP throughput, of plain", secret.stream / x.stream, turns);
  tell("overlay: bare VXLAN", z.stream / 125_000, "TCP throughput", " Mbit/s");
}
