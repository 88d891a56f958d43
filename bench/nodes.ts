import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Engine, memoryOf, tombolod } from "./engine.ts";
import { median, report, tell } from "./figures.ts";
import { Pair } from "./pair.ts";
import { WorkersProcess } from "./workers-process.ts";

const size = { workers: 1000, endpoints: 100_000 } as const;
const rest = 10_000; // milliseconds
const changes = 100;

const place = { ListenAddr: "0.0.0.0:2377", AdvertiseAddr: "192.0.2.1:2377" };

/** A manager with many workers and rows: tombolod and its etcd on the one host, the workers' streams from the other. */
export async function nodes(directory: string): Promise<void> {
  await using pair = await Pair.start("nodes", directory, tombolod);
  const { first: manager, second: host } = pair;
  await manager.timed("POST", "/v1.41/swarm/init", place);
  tell("a manager alone", manager.memory(), "resident", " MiB");
  await addRows(manager, "endpoints", size.endpoints);
  tell("a manager in which the rows were written", manager.memory(), "resident", " MiB");
  tell("a restart with 100,000 endpoints", await restart(manager), "until it is a manager again", " s");
  await sleep(rest);
  tell("a manager with 100,000 endpoints", manager.memory(), "resident", " MiB");
  const token = manager.docker("swarm", "join-token", "-q", "worker");
  using workers = new WorkersProcess(host.namespace, place.AdvertiseAddr, token, size.workers);
  await measureTimes(manager, workers);
  await measureRest(manager);
  await measureReturn(manager, workers);
}

/** Writes rows as other managers would. @param where bench/rows.ts */
export async function addRows({ namespace, directory }: Engine, where: string, count: number): Promise<void> {
  const script = join(import.meta.dirname, "rows.ts");
  const args = [`--net=${namespace}`, process.execPath, script, join(directory, "data"), where, `${count}`];
  const [status] = (await once(spawn("nsenter", args, { stdio: "inherit" }), "exit")) as [number | null];
  if (status !== 0) throw new Error(`the rows were not written: status ${status}`);
}

async function measureTimes(manager: Engine, workers: WorkersProcess): Promise<void> {
  const begun = performance.now();
  await workers.ask("join");
  tell("1,000 workers join, 20 at once", (performance.now() - begun) / 1000, "all have certificates", " s");
  const registered = await workers.untilAllHeard(() => workers.ask("register"));
  const lost = `${await workers.ask("lost")} tries failed`;
  report("1,000 workers register, 20 at once", registered / 1000, 30, "low", lost, " s");
  await sleep(rest);
  const times: number[] = [];
  while (times.length < changes) times.push(await workers.untilAllHeard(() => changeCluster(manager, times.length)));
  const late = times.toSorted((a, b) => a - b).at(-2) ?? Number.NaN;
  report("a row changed, to all 1,000: p99", late, 1000, "low", `median ${median(times).toFixed(0)} ms`, " ms");
  await sleep(rest);
  await measureUninterested(manager, workers);
}

async function measureUninterested(manager: Engine, workers: WorkersProcess): Promise<void> {
  await workers.ask("listen");
  const [one = ""] = manager.docker("node", "ls", "-q", "--filter", "role=worker").split("\n");
  manager.docker("node", "update", "--label-add", "a=b", one);
  await sleep(1000);
  report("who hears of a row of one node", await workers.ask("heard"), 1, "low", "workers");
}

/** A setting that no worker acts on. */
async function changeCluster(manager: Engine, round: number): Promise<void> {
  const { text } = await manager.ask("GET", "/v1.41/swarm");
  const { Version, Spec } = JSON.parse(text) as { Version: { Index: number }; Spec: object };
  const spec = { ...Spec, Orchestration: { TaskHistoryRetentionLimit: 10 + round } };
  await manager.timed("POST", `/v1.41/swarm/update?version=${Version.Index}`, spec);
}

async function measureRest(manager: Engine): Promise<void> {
  const before = processorTime(manager.pid);
  await sleep(rest);
  tell("processor time at rest", ((processorTime(manager.pid) - before) / rest) * 100, "of one core", " %");
  const etcd = Number(readFileSync(join(manager.directory, "exec/swarm/etcd.pid"), "utf8"));
  report("a manager with all that", manager.memory(), 400, "low", "resident", " MiB");
  tell("its etcd", memoryOf(etcd), "resident", " MiB");
}

/** Every worker finds the manager again after it was started anew, all at the same time. */
async function measureReturn(manager: Engine, workers: WorkersProcess): Promise<void> {
  const time = await workers.untilAllHeard(() => restart(manager));
  tell("1,000 workers are back after a restart", time / 1000, `${await workers.ask("lost")} tries failed`, " s");
  await sleep(rest);
  tell("a manager after that", manager.memory(), "resident", " MiB");
}

/** @returns seconds until it has its rows again */
async function restart(manager: Engine): Promise<number> {
  await manager.stop();
  const begun = performance.now();
  await manager.start();
  while ((await manager.call("GET", "/v1.41/swarm")) !== 200) await sleep(50);
  return (performance.now() - begun) / 1000;
}

/** Milliseconds: proc(5), /proc/PID/stat, fields 14 and 15 in ticks of 10 ms. */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
