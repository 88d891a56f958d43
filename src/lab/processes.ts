import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError } from "./command.ts";

/** A process is a pid and the time of its start: the pid alone may go to another one. */
export interface Process {
  readonly pid: number;
  /** Clock ticks since boot, proc(5). */
  readonly started: string;
  /** Its pid as its own namespace knows it. */
  readonly inner: number;
  readonly command: string;
}
const patience = 15_000; // milliseconds

/**
 * The processes in the network namespaces that these files pin, never those in our own. A daemon is in a container's for
 * moments: who shares a process namespace with one that was found belongs to the same host.
 */
export function processesIn(pins: readonly string[]): Process[] {
  const networks = new Set(pins.flatMap((pin) => namespaceOf(pin) ?? []));
  networks.delete(readlinkSync("/proc/self/ns/net"));
  if (networks.size === 0) return [];
  const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (placeOf(name) ?? []) : []));
  const hosts = new Set(all.flatMap(({ network, process }) => (networks.has(network) ? process : [])));
  hosts.delete(readlinkSync("/proc/self/ns/pid"));
  return all.flatMap(({ pid, network, process }) =>
    networks.has(network) || hosts.has(process) ? (describe(pid) ?? []) : [],
  );
}

/** The namespaces that a process is in; undefined when it has ended. */
function placeOf(
  pid: string,
): { readonly pid: number; readonly network: string; readonly process: string } | undefined {
  try {
    const [network, process] = ["net", "pid"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`)) as [
      string,
      string,
    ];
    return { pid: Number(pid), network, process };
  } catch {
    return undefined;
  }
}

/** A file that pins nothing (left by a crash, or from before a reboot) is on its directory's own device. */
function namespaceOf(pin: string): string | undefined {
  const found = statSync(pin, { throwIfNoEntry: false });
  return found === undefined || found.dev === statSync(dirname(pin)).dev ? undefined : `net:[${found.ino}]`;
}

function describe(pid: number): Process | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const inner = Number(/^NSpid:.*?(\d+)$/m.exec(status)?.[1]);
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, started: stat(pid)?.started ?? "", inner, command };
  } catch {
    return undefined; // it ended meanwhile
  }
}

/** The command's name in the second field may hold spaces and brackets. */
function stat(pid: number): { readonly state: string; readonly started: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", started: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

/** Whether this very process still runs: one that waits to be reaped has let go of everything. */
export function isAlive({ pid, started }: Process): boolean {
  const now = stat(pid);
  return now !== undefined && now.started === started && !"ZX".includes(now.state);
}

/** Kills processes and waits until they are gone. @throws {LabError} when one does not end in 15 seconds */
export async function kill(processes: readonly Process[]): Promise<void> {
  for (const process_ of processes)
    try {
      if (isAlive(process_)) process.kill(process_.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  const deadline = Date.now() + patience;
  for (;;) {
    const left = processes.find(isAlive);
    if (left === undefined) return;
    if (Date.now() > deadline) throw new LabError(`process ${left.pid} (${left.command}) does not end`);
    await sleep(10);
  }
}
