import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Container } from "../../model/container.ts";
import type { Usage } from "../../runtime/runtime.ts";
import { type Call, json, type Reply, stream } from "../call.ts";
import { flag, param } from "../query.ts";

const period = 1000; // milliseconds between two samples

interface Sample {
  readonly container: Container;
  readonly usage: Usage;
  readonly hostNanoseconds: number;
}

/** `GET /containers/{name}/stats`: one sample a second, or one (`stream=0`), taken at once with `one-shot=1`. */
export async function streamStats(call: Call): Promise<Reply> {
  const first = await sample(call);
  if (flag(call.query, "stream", true)) return stream("application/json", samples(call, first));
  if (flag(call.query, "one-shot")) return json(statsJson(first, undefined));
  await sleep(period, undefined, { signal: call.signal });
  return json(statsJson(await sample(call), first));
}

async function sample(call: Call): Promise<Sample> {
  const { container, usage } = await call.engine.containers.usage(param(call, "name"));
  return { container, usage, hostNanoseconds: hostNanoseconds() };
}

/** Time that all processors of the host spent since boot, idle or not. */
function hostNanoseconds(): number {
  const all = cpus().flatMap(({ times }) => Object.values(times));
  return all.reduce((sum, milliseconds) => sum + milliseconds, 0) * 1e6;
}

async function* samples(call: Call, first: Sample): AsyncIterable<string> {
  let before: Sample | undefined;
  for (let current = first; ; current = await sample(call)) {
    yield `${JSON.stringify(statsJson(current, before))}\n`;
    before = current;
    const woken = await sleep(period, true, { signal: call.signal }).catch(() => false);
    if (!woken) return;
  }
}

const zero = "0001-01-01T00:00:00Z";

function statsJson({ container, usage, hostNanoseconds: host }: Sample, before: Sample | undefined): object {
  return {
    name: `/${container.name}`,
    id: container.id,
    read: usage.read,
    preread: before?.usage.read ?? zero,
    num_procs: 0,
    pids_stats: { current: usage.pids },
    networks: {},
    memory_stats: { usage: usage.memory, stats: {}, limit: usage.memoryLimit },
    blkio_stats: { io_service_bytes_recursive: null, io_serviced_recursive: null },
    cpu_stats: cpuJson(usage.cpuNanoseconds, host),
    precpu_stats: cpuJson(before?.usage.cpuNanoseconds ?? 0, before?.hostNanoseconds ?? 0),
    storage_stats: {},
  };
}

const cpuJson = (nanoseconds: number, host: number) => ({
  cpu_usage: { total_usage: nanoseconds, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  system_cpu_usage: host,
  online_cpus: cpus().length,
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
});
