import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { environment } from "../src/lab/command.ts";

export const root = resolve(import.meta.dirname, "..");

/** Where commands are typed: a shell of this machine, or of a host of a lab. */
export interface Place {
  readonly prompt: string;
  /** The beginning of the command that runs a line there. */
  readonly shell: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Prints a command as it would be typed, and what it prints; ends this program when it fails.
 * @returns what it printed, without the space around it
 */
export function show(line: string, { prompt, shell, env }: Place): string {
  console.log(`${prompt} ${line}`);
  const [program = "", ...args] = shell;
  const options = { env: { ...environment(), ...env }, encoding: "utf8", cwd: root } as const;
  const { status, stdout, error } = spawnSync(program, [...args, `exec 2>&1\n${line}`], options);
  console.log(stdout);
  if (status === 0) return stdout.trim();
  console.error(error?.message ?? `this step failed with status ${status}`);
  process.exit(1);
}
