import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** What a host of the tests can leave on the machine, each as a line for the reader of a failure. */
export interface LeftOvers {
  readonly pids: readonly number[];
  readonly lines: readonly string[];
}

/** Processes that name `directory` on their command line, or live in one of the network namespaces pinned under it. */
export function processesOf(directory: string): LeftOvers {
  const namespaces = new Set(namespacesUnder(directory).map((path) => `net:[${statSync(path).ino}]`));
  const found = readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!(pid > 0) || pid === process.pid) return [];
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      const ours = line.includes(directory) || namespaces.has(readlinkSync(`/proc/${pid}/ns/net`));
      return ours && line !== "" ? [{ pid, line: `process ${pid}: ${line}` }] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
  return { pids: found.map(({ pid }) => pid), lines: found.map(({ line }) => line) };
}

/** Mount points under `directory`, innermost first. */
export const mountsUnder = (directory: string): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${directory}/`))
    .toReversed();

/** Files that pin a network namespace. */
const namespacesUnder = (directory: string): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(" - nsfs "))
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${directory}/`) && existsSync(path));
