import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { fittingSysctls, hostLimits, limitFactor } from "../../src/dataplane/base.ts";

const fileOf = (key: string) => `/proc/sys/${key.replaceAll(".", "/")}`;

/**
 * Raises the kernel's limits as the daemon does for so many endpoints. A test's hosts cannot: only the first namespace has
 * them, so this has to be called before there is a host. They are given back in the end.
 */
export function raiseLimits(endpoints: number): Disposable {
  const first = openSync("/proc/thread-self/ns/net", "r");
  const keys = Object.keys(fittingSysctls((key) => readFileSync(fileOf(key), "utf8"), true));
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
      awaitForgotten(enter);
      const values = limits.map(({ key, before }) => `${key}=${before}`);
      if (values.length > 0)
        spawnSync("nsenter", [...enter.slice(1), "sysctl", "-qw", ...values], { stdio: "inherit" });
      closeSync(first);
    },
  };
}

const few = 256; // of the 1,024 neighbours that a kernel takes which nobody has told otherwise
/**
 * The kernel forgets the neighbours of namespaces that are gone one after the other; whoever comes next needs the room.
 * @param enter leads into the first namespace, which alone has the counts
 */
function awaitForgotten(enter: readonly string[]): void {
  const tables = ["arp_cache", "ndisc_cache"].map((table) => `/proc/net/stat/${table}`);
  const [program = "", ...words] = [...enter, "tail", "-qn1", ...tables]; // a line for each CPU, each with the same count
  const count = () => {
    const lines = spawnSync(program, words, { encoding: "utf8" }).stdout.trim().split("\n");
    return Math.max(...lines.map((line) => Number.parseInt(line, 16)));
  };
  for (const end = Date.now() + 60_000; Date.now() < end && count() > few; ) spawnSync("sleep", ["0.2"]);
}

/** Packets that the kernel threw away because a CPU's queue was full, since it started (/proc/net/softnet_stat, column 2). */
export const packetsDropped = (): number =>
  readFileSync("/proc/net/softnet_stat", "utf8")
    .trim()
    .split("\n")
    .reduce((sum, line) => sum + Number.parseInt(line.split(" ")[1] ?? "0", 16), 0);
