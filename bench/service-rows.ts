/**
 * `node bench/service-rows.ts shop|ingress`: what a change of one service costs a host that knows of ten, and of 10,000, with three
 * tasks each on other hosts; as a container sees them (shop), or published (ingress). Rows only. Prints JSON. Needs root.
 */
import type { RowChange } from "../test/support/mesh-host.ts";
import {
  backendChange,
  containerChanges,
  entryChanges,
  hostChanges,
  overlayOn,
  peerChange,
  portOf,
  serviceId,
  taskKey,
  virtualChange,
} from "../test/support/mesh-rows.ts";
import { RealHost } from "../test/support/real-host.ts";
import { idOf } from "../test/support/rows.ts";
import { ingressSandbox } from "../src/model/sandbox.ts";
import type { TableName, Tables } from "../src/store/tables.ts";
import { median } from "./figures.ts";

export interface Costs {
  /** Milliseconds from the commit until it is in the kernel: the median. */
  readonly median: number;
  /** The same with what a change has to wait for (a reading of the kernel that is under way): the 99th percentile. */
  readonly p99: number;
  /** Milliseconds of processor time for a change, with all that follows from it. */
  readonly processor: number;
}
const sizes = { few: 10, many: 10_000 } as const;
const tasks = 3;
const client = 150;
/** Other members come after those of virtual addresses. */
const firstTask = 20_000;
const otherHost = 2;
const together = 200; // services in one transaction
const rounds = 100;
const interval = 50; // milliseconds from one change to the next
/** Milliseconds in which all has followed that follows from changes: readings of much are rare. */
const rest = { few: 3000, many: 30_000 } as const;

const [network = "shop"] = process.argv.slice(2) as ("shop" | "ingress")[];
const sandbox = network === "ingress" ? ingressSandbox : idOf("5", client);
const memberOf = (service: number, task: number) => firstTask + service * tasks + task;
const backendOf = (service: number) => backendChange(service, memberOf(service, 0), otherHost, network);

const serviceRows = (service: number): RowChange[] => [
  virtualChange(service, network, network === "ingress" ? { ports: [portOf(10_000 + service, 80)] } : {}),
  ...Array.from({ length: tasks }, (_, task) => memberOf(service, task)).flatMap((member) => [
    peerChange(otherHost, member, network),
    backendChange(service, member, otherHost, network),
  ]),
];

async function write(host: RealHost, changes: readonly RowChange[]): Promise<number> {
  const { revision } = await host.store.update((tx) => {
    for (const [table, row] of changes)
      if (typeof row === "string") tx.delete(table, row);
      else tx.put(table, row as Tables[TableName]);
  });
  return revision;
}

async function grow(host: RealHost, from: number, to: number): Promise<void> {
  for (let service = from; service < to; service += together) {
    const numbers = Array.from({ length: Math.min(together, to - service) }, (_, at) => service + at);
    await host.dataplane.settled("host", await write(host, numbers.flatMap(serviceRows)));
  }
}

/** A task of one service takes no more connections, and takes them again. @returns milliseconds */
async function change(host: RealHost, service: number, isBack: boolean): Promise<number> {
  const [table, row] = backendOf(service);
  const begun = performance.now();
  const revision = await write(host, [isBack ? [table, row] : [table, taskKey(memberOf(service, 0), network)]]);
  await host.dataplane.settled(
    `service:${sandbox}|${overlayOn(1, network).network.id}|${serviceId(service)}`,
    revision,
  );
  return performance.now() - begun;
}

/** @returns milliseconds of processor time since it began */
const processorTime = () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000;

async function measure(host: RealHost, scale: keyof typeof sizes): Promise<Costs> {
  const size = sizes[scale];
  await sleep(rest[scale]);
  const [times, late]: [number[], number[]] = [[], []];
  const [start, before] = [performance.now(), processorTime()];
  for (let round = 0; round < rounds; round += 1) {
    const due = start + round * interval;
    await sleep(Math.max(0, due - performance.now()));
    const waited = performance.now() - due;
    const took = await change(host, Math.floor((round >> 1) * (size / rounds)), round % 2 === 1);
    times.push(took);
    late.push(waited + took);
  }
  await sleep(rest[scale]);
  const processor = (processorTime() - before) / rounds;
  return { median: median(times), p99: late.toSorted((a, b) => a - b).at(-2) ?? Number.NaN, processor };
}
const sleep = (time: number) => new Promise((resolve) => setTimeout(resolve, time));

await using host = await RealHost.open();
const own = network === "ingress" ? entryChanges(1) : containerChanges(1, client, ["shop"]);
await write(host, [...hostChanges(1), ...own]);
await grow(host, 0, sizes.few);
const few = await measure(host, "few");
await grow(host, sizes.few, sizes.many);
const many = await measure(host, "many");
await host.assertClean();
console.log(JSON.stringify({ few, many }));
