import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** A program that outlives this one, which finds it again by its process id and its command line. */
export interface LastingProgram {
  /** Where its process id is written. */
  readonly pidfile: string;
  /** Arguments of its that no other program has: the process id may have gone to one. */
  readonly marks: readonly string[];
  /** Where its own messages go. */
  readonly logFile: string;
}

const every = { look: 500, poll: 20, longestPause: 10_000 } as const; // milliseconds

/** @returns the process, while it runs; the last of its arguments is empty */
export function findProgram({
  pidfile,
  marks,
}: LastingProgram): { readonly pid: number; readonly command: readonly string[] } | undefined {
  try {
    const pid = Number(readFileSync(pidfile, "utf8"));
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return marks.every((mark) => command.includes(mark)) ? { pid, command } : undefined;
  } catch {
    return undefined; // no file, or no process
  }
}

/**
 * Starts it, in a session of its own: what ends the daemon's terminal or group does not end it.
 * @param env in place of this process's environment @returns why it ended, when it has
 */
export function beginProgram(
  { pidfile, logFile }: LastingProgram,
  [file, ...args]: readonly [file: string, ...args: string[]],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const out = openSync(logFile, "a", 0o600);
  const child = spawn(file, args, { detached: true, stdio: ["ignore", out, out], cwd: "/", env });
  closeSync(out);
  const ended = new Promise<string>((resolve) => {
    child.once("error", ({ message }) => resolve(message));
    child.once("exit", (status, signal) => resolve(`it ended with ${signal ?? `status ${status}`}; see ${logFile}`));
  });
  child.unref();
  if (child.pid !== undefined) writeFileSync(pidfile, `${child.pid}\n`);
  return ended;
}

/** Asks it to end, and ends it when that takes longer than `patience` milliseconds. Resolves when it is gone, and its file. */
export async function endProgram(program: LastingProgram, patience: number): Promise<void> {
  const late = Date.now() + patience;
  let sent: NodeJS.Signals | undefined;
  for (let found = findProgram(program); found !== undefined; found = findProgram(program)) {
    const signal = Date.now() < late ? "SIGTERM" : "SIGKILL";
    if (signal !== sent) sendSignal(found.pid, signal);
    sent = signal;
    await sleep(every.poll);
  }
  rmSync(program.pidfile, { force: true });
}

/** Ends it at once, without a word and without waiting. */
export function killProgram(program: LastingProgram): void {
  const found = findProgram(program);
  if (found !== undefined) sendSignal(found.pid, "SIGKILL");
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {} // it was quicker
}

/** Calls `look` twice a second until the signal, and less and less often while it throws. */
export async function keepLooking(
  look: () => Promise<void>,
  failed: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let pause: number = every.look; !signal.aborted; ) {
    await sleep(pause, undefined, { signal, ref: false }).catch(() => {});
    try {
      if (!signal.aborted) await look();
      pause = every.look;
    } catch (error) {
      pause = Math.min(pause * 2, every.longestPause);
      failed(error);
    }
  }
}
