import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import type { Usage } from "./runtime.ts";

const root = "/sys/fs/cgroup";

/** What a container's control group has used (kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2). */
export function readUsage(id: string): Usage {
  const version2 = existsSync(join(root, "cgroup.controllers"));
  const read = (controller: string, file: string): string => {
    try {
      return readFileSync(join(root, version2 ? "" : controller, "tombolo", id, file), "utf8").trim();
    } catch {
      return "0";
    }
  };
  const limit = Number(version2 ? read("", "memory.max") : read("memory", "memory.limit_in_bytes"));
  const all = totalmem();
  return {
    read: new Date().toISOString(),
    cpuNanoseconds: version2
      ? Number(/usage_usec (\d+)/.exec(read("", "cpu.stat"))?.[1] ?? 0) * 1000
      : Number(read("cpuacct", "cpuacct.usage")),
    memory: Number(version2 ? read("", "memory.current") : read("memory", "memory.usage_in_bytes")),
    memoryLimit: limit > 0 && limit < all ? limit : all,
    pids: Number(read("pids", "pids.current")),
  };
}
