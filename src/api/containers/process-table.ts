import { readFile } from "node:fs/promises";
import { totalmem, uptime } from "node:os";

const ticks = 100; // USER_HZ: what /proc counts CPU time in on every architecture of ours
const page = 4096; // bytes; proc(5) gives the resident set in pages

/** What /proc says of one process (proc(5)). Times are seconds. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly name: string;
  readonly command: string;
  readonly state: string;
  readonly terminal: number;
  readonly cpuTime: number;
  readonly startedAt: number; // seconds since 1970
  readonly virtual: number; // bytes
  readonly resident: number; // bytes
}

/** @returns undefined when the process is gone */
export async function readProcess(pid: number): Promise<ProcessEntry | undefined> {
  try {
    const [stat, status, line] = await Promise.all(
      ["stat", "status", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8")),
    );
    return parseProcess(pid, stat ?? "", status ?? "", line ?? "");
  } catch {
    return undefined;
  }
}

/** From the texts of `stat`, `status` and `cmdline`. A name may hold blanks and brackets, so it ends at the last `)`. */
export function parseProcess(pid: number, stat: string, status: string, line: string): ProcessEntry {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
  return {
    pid,
    parent: field(4),
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0),
    name,
    command: line.replace(/\0+$/, "").replaceAll("\0", " ") || `[${name}]`,
    state: fields[0] ?? "",
    terminal: field(7),
    cpuTime: (field(14) + field(15)) / ticks,
    startedAt: Date.now() / 1000 - uptime() + field(22) / ticks,
    virtual: field(23),
    resident: field(24) * page,
  };
}

type Column = (process: ProcessEntry) => string;
const two = (value: number) => String(Math.trunc(value)).padStart(2, "0");
const clock: Column = ({ cpuTime: t }) => `${two(t / 3600)}:${two((t / 60) % 60)}:${two(t % 60)}`;
const started: Column = ({ startedAt }) => {
  const date = new Date(startedAt * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
};
const load = (p: ProcessEntry) => (100 * p.cpuTime) / Math.max(1, Date.now() / 1000 - p.startedAt);
/** Majors 136 to 143 are pseudo terminals, 4 the console's (kernel, admin-guide/devices.txt). */
const terminal: Column = ({ terminal: device }) => {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return `pts/${minor + (major - 136) * 256}`;
  return major === 4 ? `tty${minor}` : "?";
};

/** The columns of `ps` that are known, by title. */
export const columns: Readonly<Record<string, Column>> = {
  UID: (p) => String(p.uid),
  USER: (p) => String(p.uid),
  PID: (p) => String(p.pid),
  PPID: (p) => String(p.parent),
  C: (p) => String(Math.trunc(load(p))),
  STIME: started,
  START: started,
  TTY: terminal,
  TIME: clock,
  CMD: (p) => p.command,
  ARGS: (p) => p.command,
  COMMAND: (p) => p.command,
  COMM: (p) => p.name,
  STAT: (p) => p.state,
  "%CPU": (p) => load(p).toFixed(1),
  "%MEM": (p) => ((100 * p.resident) / totalmem()).toFixed(1),
  VSZ: (p) => String(Math.trunc(p.virtual / 1024)),
  RSS: (p) => String(Math.trunc(p.resident / 1024)),
};
