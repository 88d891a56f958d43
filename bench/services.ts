import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { buildBusybox } from "../tools/busybox-image.ts";
import { dockerd, type Engine, tombolod } from "./engine.ts";
import { median, report, tell } from "./figures.ts";
import { Pair } from "./pair.ts";
import type { Costs } from "./service-rows.ts";

const rounds = 5;
const replicas = 10;
const port = 8080;
const script = (name: string) => join(import.meta.dirname, name);

const wish = {
  Name: "web",
  TaskTemplate: {
    ContainerSpec: {
      Image: "busybox",
      Command: ["sh", "-c", "hostname > /tmp/index.html; exec httpd -f -h /tmp"],
      StopSignal: "SIGKILL",
    },
  },
  Mode: { Replicated: { Replicas: replicas } },
  EndpointSpec: { Ports: [{ Protocol: "tcp", TargetPort: 80, PublishedPort: port, PublishMode: "ingress" }] },
};
const create = (engine: Engine) => engine.timed("POST", "/v1.41/services/create", wish);

/** A swarm of two hosts, with the image on both. */
async function begin({ first, second, addresses: [here, there] }: Pair, image: string): Promise<void> {
  first.docker("swarm", "init", "--advertise-addr", here);
  const token = first.docker("swarm", "join-token", "-q", "worker");
  second.docker("swarm", "join", "--advertise-addr", there, "--token", token, `${here}:2377`);
  for (const engine of [first, second]) engine.docker("load", "-i", image);
}

/** The service goes, and all that it left. */
async function end({ first, second }: Pair): Promise<void> {
  first.docker("service", "rm", wish.Name);
  while ([first, second].some((engine) => engine.docker("ps", "-aq") !== "")) await sleep(100);
  await sleep(1000);
}

/** @returns milliseconds from the call until ten different tasks have answered at a published port of the host */
async function untilAnswers(pair: Pair): Promise<number> {
  const prober = spawn("nsenter", [`--net=${pair.second.namespace}`, process.execPath, script("answers.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: prober.stdout });
  await once(lines, "line");
  const all = once(lines, "line");
  const begun = performance.now();
  prober.stdin.write(`http://${pair.addresses[0]}:${port}/ ${replicas}\n`);
  await Promise.all([create(pair.first), all]);
  const took = performance.now() - begun;
  prober.kill();
  await end(pair);
  return took;
}

/** @returns milliseconds from the call until ten tasks are said to run */
async function untilRunning(pair: Pair): Promise<number> {
  const begun = performance.now();
  await create(pair.first);
  while ((await running(pair.first)) < replicas) await sleep(10);
  const took = performance.now() - begun;
  await end(pair);
  return took;
}

async function running(engine: Engine): Promise<number> {
  const { text } = await engine.ask("GET", "/v1.41/tasks");
  return (JSON.parse(text) as { Status: { State: string } }[]).filter(({ Status }) => Status.State === "running")
    .length;
}

/**
 * From `service create` until ten tasks answer through the mesh, against dockerd until it says that ten run: that is before they
 * can answer, and where the kernel has no IPVS, dockerd's never do.
 */
export async function services(directory: string): Promise<void> {
  const { image } = await buildBusybox(join(directory, "images"));
  await using ours = await Pair.start("tombolod-services", directory, tombolod);
  await using theirs = await Pair.start("dockerd-services", directory, dockerd);
  for (const pair of [ours, theirs]) await begin(pair, image);
  const [a, b]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    a.push(await untilAnswers(ours));
    b.push(await untilRunning(theirs));
  }
  const [x, y] = [median(a), median(b)];
  const note = `${x.toFixed(0)} ms against ${y.toFixed(0)} ms until they run`;
  report("services: ten tasks answer", x / y, 0.5, "low", note);
}

/** What a change of one of 10,000 services costs a host, of one of ten. */
export function manyServices(): void {
  for (const [network, what] of [
    ["shop", "10,000 services, in a container"],
    ["ingress", "10,000 services, published"],
  ] as const) {
    const text = execFileSync(process.execPath, [script("service-rows.ts"), network], { encoding: "utf8" });
    const { few, many } = JSON.parse(text) as { few: Costs; many: Costs };
    const times = (of: keyof Costs) => `${many[of].toFixed(1)} ms against ${few[of].toFixed(1)} ms with 10`;
    report(`${what}: a change (p99)`, many.p99, 50, "low", `median ${many.median.toFixed(1)} ms`, " ms");
    report("… of the same with 10", many.median / few.median, 1.1, "low", times("median"));
    tell("… processor time, of the same", many.processor / few.processor, times("processor"));
  }
}
