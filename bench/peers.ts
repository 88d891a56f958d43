import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildBusybox } from "../tools/busybox-image.ts";
import { type Engine, tombolod } from "./engine.ts";
import { report, tell } from "./figures.ts";
import { addRows } from "./nodes.ts";
import { Pair } from "./pair.ts";

/** The first ones bring along what is there once, as compiled code. */
const [first, count] = [1000, 10_000];
const goal = 2; // KiB
const rest = 5000; // milliseconds

/** Bytes. */
interface Memory {
  readonly resident: number;
  readonly heap: number;
  /** Of the machine's kernel. */
  readonly kernel: number;
}

/** What endpoints of other hosts cost a host that has one container on their network. */
export async function peers(directory: string): Promise<void> {
  const { image } = await buildBusybox(join(directory, "images"));
  await using pair = await Pair.start("peers", directory, tombolod);
  const { first: manager, second: host, addresses } = pair;
  manager.docker("swarm", "init", "--advertise-addr", addresses[0]);
  const token = manager.docker("swarm", "join-token", "-q", "worker");
  host.docker("swarm", "join", "--advertise-addr", addresses[1], "--token", token, `${addresses[0]}:2377`);
  host.docker("load", "-i", image);
  manager.docker("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.200.0.0/16", "all");
  host.docker("run", "-d", "--name", "one", "--network", "all", "busybox", "sleep", "1d");
  process.kill(host.pid, "SIGUSR1");
  await add(pair, first, first);
  const before = await memoryOf(host);
  const seconds = await add(pair, count, first + count);
  const after = await memoryOf(host);
  const each = (of: keyof Memory) => (after[of] - before[of]) / count / 1024;
  report("a remote endpoint, in the daemon", each("resident"), goal, "low", `heap ${each("heap").toFixed(2)}`, " KiB");
  tell("… in the kernel", each("kernel"), "slabs that cannot be given back", " KiB");
  tell(`${count} endpoints are known`, seconds, "from the first that is written", " s");
}

/** @returns seconds until the host knows all of them */
async function add({ first: manager, second: host }: Pair, more: number, all: number): Promise<number> {
  const begun = performance.now();
  await addRows(manager, "all", more);
  while ((await known(host)) < all) await sleep(100);
  return (performance.now() - begun) / 1000;
}

/** How many endpoints of other hosts it knows. */
async function known(host: Engine): Promise<number> {
  const { text } = await host.ask("GET", "/v1.41/networks/all?verbose=true");
  const { Services } = JSON.parse(text) as { Services: Record<string, { Tasks: unknown[] }> };
  return (Services[""]?.Tasks.length ?? 1) - 1;
}

/** After some rest, and with the heap collected. */
async function memoryOf(host: Engine): Promise<Memory> {
  await sleep(rest);
  const script = [process.execPath, join(import.meta.dirname, "heap.ts")];
  const heap = Number(execFileSync("nsenter", [`--net=${host.namespace}`, ...script], { encoding: "utf8" }));
  await sleep(rest);
  const slabs = /^SUnreclaim:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return { resident: host.memory() * 2 ** 20, heap, kernel: Number(slabs) * 1024 };
}
