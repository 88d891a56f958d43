import { join } from "node:path";
import type { LabHost } from "../src/lab/host.ts";
import { type Lab, startLab } from "../src/lab/lab.ts";
import { buildBusybox } from "../tools/busybox-image.ts";
import { median, report, tell } from "./figures.ts";
import { askIn, compare, type Delays, ports, serve } from "./traffic.ts";

const rounds = 5;
const words = (line: string) => line.split(" ");
const sleeper = words("busybox sleep 1d");

/** A swarm of all hosts, with a client's container on the first, and a service's only task on the second. */
async function begin({ hosts }: Lab): Promise<void> {
  const [first, ...others] = hosts as [LabHost, ...LabHost[]];
  await first.docker(...words("swarm init"));
  const token = await first.docker(...words("swarm join-token -q worker"));
  for (const host of others) await host.docker(...words(`swarm join --token ${token} ${first.address}:2377`));
  await first.docker(...words("network create -d overlay --attachable shop"));
  const published = Object.values(ports).flatMap((port) => ["-p", `${port}:${port}`]);
  const wish = words("service create -q --no-resolve-image --name web --network shop --constraint node.hostname==h2");
  await first.docker(...wish, ...published, ...sleeper);
  await first.docker(...words("run -d --name ask --network shop"), ...sleeper);
}

/** The file of a container's network namespace, as this machine sees it. */
async function sandboxOf(host: LabHost, container: string): Promise<string> {
  const key = await host.docker("inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container);
  return `/proc/${host.processes()[0]?.pid}/root${key}`;
}
const addressOf = async (host: LabHost, name: string) =>
  /^Name:.*\nAddress: (\S+)/m.exec(await host.docker("exec", "ask", "nslookup", "-type=a", name))?.[1] ?? "";

/** Connections and requests of a container to a service, by its virtual address and by its task's own. */
async function virtualAddress(host: LabHost): Promise<void> {
  const client = await sandboxOf(host, "ask");
  const [virtual, task] = [await addressOf(host, "web"), await addressOf(host, "tasks.web")];
  const modes = ["connections", "requests"] as const;
  const found = compare({ virtual: { client, address: virtual }, own: { client, address: task } }, modes);
  for (const mode of modes) {
    const [a, b] = [found.virtual[mode], found.own[mode]];
    const note = `${a.toFixed(0)} a second against ${b.toFixed(0)}`;
    report(`services: ${mode} by VIP, of the task's own`, a / b, 0.9, "high", note);
  }
}

/** From outside to a published port: of a host without a task, and of the task's own. */
function mesh(outside: string, hop: LabHost, own: LabHost): void {
  const found = [hop, own].map(({ address }) => ({ address, fresh: [] as number[][], kept: [] as number[][] }));
  for (let round = 0; round < rounds; round += 1)
    for (const { address, fresh, kept } of found) {
      const delays = JSON.parse(askIn(outside, "delays", address)) as Delays;
      fresh.push([...delays.fresh]);
      kept.push([...delays.kept]);
    }
  for (const [kind, what] of [
    ["fresh", "a new connection"],
    ["kept", "a request over a kept one"],
  ] as const)
    for (const [name, part] of [
      ["median", 0.5],
      ["p99", 0.99],
    ] as const) {
      const [far = Number.NaN, near = Number.NaN] = found.map((one) =>
        median(one[kind].map((times) => times[Math.floor(times.length * part)] ?? Number.NaN)),
      );
      tell(`mesh hop: ${what} (${name})`, far - near, `${far.toFixed(3)} ms against ${near.toFixed(3)} ms`, " ms");
    }
}

/** What it costs to ask a service by its virtual address, and by a host where it has no task. */
export async function balancing(directory: string): Promise<void> {
  const { image } = await buildBusybox(join(directory, "images"));
  await using lab = await startLab({ name: "bench", hosts: 3, image, directory: join(directory, "lab") });
  await begin(lab);
  const [first, second] = [lab.host(1), lab.host(2)];
  using _ = await serve(await sandboxOf(second, await second.docker("ps", "-q")));
  await virtualAddress(first);
  mesh(lab.switch, lab.host(3), second);
}
