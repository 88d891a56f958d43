import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fittingSysctls, hostLimits, limitFactor } from "../../src/dataplane/base.ts";

const fileOf = (key: string) => `/proc/sys/${key.replaceAll(".", "/")}`;

/**
 * Raises the kernel's limits as the daemon does for so many endpoints. A test's hosts cannot: only the first namespace has
 * them, so this has to be called before there is a host. They are given back in the end.
 */
export function raiseLimits(endpoints: number): Disposable {
  const first = openSync("/proc/thread-self/ns/net", "r");
  const keys = Object.keys(fittingSysctls((key) => readFileSync(fileOf(key), "utf8"), true).host);
  const limits = keys.flatMap((key) => {
    const [before, wished] = [
      Number(readFileSync(fileOf(key), "utf8")),
      (hostLimits[key] ?? 0) * limitFactor(endpoints),
    ];
    return before < wished ? [{ key, before, wished }] : [];
  });
  for (const { key, wished } of limits) writeFileSync(fileOf(key), String(wished));
  return {
    [Symbol.dispose]() {
      const enter = ["nsenter", `--net=/proc/${process.pid}/fd/${first}`];
      const values = limits.map(({ key, before }) => `${key}=${before}`);
      if (values.length > 0)
        spawnSync("nsenter", [...enter.slice(1), "sysctl", "-qw", ...values], { stdio: "inherit" });
      closeSync(first);
    },
  };
}

const few = 256; // of the 1,024 neighbours that a kernel takes which nobody has told otherwise
/**
 * The kernel forgets the neighbours of namespaces that went with a program, one after the other: who comes next needs the room.
 * Only the first namespace has the counts; elsewhere nothing is waited for.
 */
export async function awaitRoom(): Promise<void> {
  const count = () =>
    Math.max(
      ...["arp_cache", "ndisc_cache"].map((table) => {
        const [, line = "0"] = readFileSync(`/proc/net/stat/${table}`, "utf8").split("\n");
        return Number.parseInt(line, 16);
      }),
    );
  if (!existsSync("/proc/net/stat/arp_cache")) return;
  for (const end = Date.now() + 30_000; Date.now() < end && count() > few; ) await sleep(100);
}

/** Packets that the kernel threw away because a CPU's queue was full, since it started (/proc/net/softnet_stat, column 2). */
export const packetsDropped = (): number =>
  readFileSync("/proc/net/softnet_stat", "utf8")
    .trim()
    .split("\n")
    .reduce((sum, line) => sum + Number.parseInt(line.split(" ")[1] ?? "0", 16), 0);
