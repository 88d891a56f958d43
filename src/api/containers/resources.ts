import { availableParallelism } from "node:os";
import type { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import type { ContainerSpec, RestartPolicy } from "../../model/container.ts";
import type { HostConfigBody, restartPolicy } from "./create-body.ts";

const leastMemory = 6 << 20; // bytes, the least that runc can start in (moby daemon/daemon_unix.go)
const usualPeriod = 100_000; // microseconds, the kernel's default CFS period

type Limits = Pick<ContainerSpec, "memory" | "memorySwap" | "nanoCpus" | "cpuShares" | "pidsLimit">;
type LimitsBody = Pick<
  HostConfigBody,
  "Memory" | "MemorySwap" | "NanoCpus" | "CpuShares" | "CpuPeriod" | "CpuQuota" | "PidsLimit"
>;

/**
 * What a container may use.
 * @throws {EngineError} invalid, with Docker's texts (moby daemon/daemon_unix.go verifyPlatformContainerResources)
 */
export function readLimits(body: LimitsBody): Limits {
  const memory = body.Memory ?? 0;
  const memorySwap = body.MemorySwap ?? 0;
  if (memory !== 0 && memory < leastMemory) throw invalid("Minimum memory limit allowed is 6MB");
  if (memory > 0 && memorySwap > 0 && memorySwap < memory)
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  if (memory === 0 && memorySwap > 0)
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  const cpuShares = body.CpuShares ?? 0;
  if (cpuShares < 0) throw invalid(`invalid CPU shares (${cpuShares}): value must be a positive integer`);
  return { memory, memorySwap, nanoCpus: readCpus(body), cpuShares, pidsLimit: Math.max(0, body.PidsLimit ?? 0) };
}

function readCpus({ NanoCpus, CpuPeriod, CpuQuota }: LimitsBody): number {
  const cpus = availableParallelism();
  const nano = NanoCpus ?? 0;
  if (nano > 0 && CpuPeriod) throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.");
  if (nano > 0 && CpuQuota) throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.");
  if (nano < 0 || nano > cpus * 1e9)
    throw invalid(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  if (CpuPeriod && (CpuPeriod < 1000 || CpuPeriod > 1_000_000))
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  if (CpuQuota && CpuQuota > 0 && CpuQuota < 1000) throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (!CpuQuota || CpuQuota < 0) return nano;
  return Math.round((CpuQuota / (CpuPeriod || usualPeriod)) * 1e9);
}

/** @throws {EngineError} invalid, with Docker's texts (moby api/types/container ValidateRestartPolicy) */
export function readRestart(body: z.infer<typeof restartPolicy> | null | undefined): RestartPolicy {
  const name = body?.Name || "no";
  const count = body?.MaximumRetryCount ?? 0;
  if (name !== "no" && name !== "always" && name !== "unless-stopped" && name !== "on-failure")
    throw invalid(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (name !== "on-failure" && count !== 0)
    throw invalid(
      `invalid restart policy: maximum retry count can only be used with 'on-failure'${count < 0 ? " and cannot be negative" : ""}`,
    );
  if (count < 0) throw invalid("invalid restart policy: maximum retry count cannot be negative");
  return { name, maximumRetryCount: count };
}

/** Setrlimit(2), as far as Docker's client knows it (docker/go-units ulimit.go). */
const ulimits = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(
  " ",
);

/** @throws {EngineError} invalid, with the texts of Docker's client */
export function readUlimits(body: HostConfigBody["Ulimits"]): ContainerSpec["ulimits"] {
  return (body ?? []).map(({ Name, Soft, Hard }) => {
    const [name, soft, hard] = [Name ?? "", Soft ?? 0, Hard ?? 0];
    if (!ulimits.includes(name)) throw invalid(`invalid ulimit type: ${name}`);
    if (hard !== -1 && (soft === -1 || soft > hard))
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
    return { name, soft, hard };
  });
}
