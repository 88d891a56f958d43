import { type SpawnOptions, spawn } from "node:child_process";
import { constants } from "node:os";

/** What the user can mend, or has to know. The message is for the user. */
export class LabError extends Error {
  override readonly name = "LabError";
}

export interface Outcome {
  /** 128 and the signal's number where a signal ended the program, as a shell says it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface CommandOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Only "pipe" is read: a descriptor gets what the program prints. */
  readonly output?: "pipe" | number;
  /** In a session of its own, so that what ends this terminal does not end it. */
  readonly detached?: boolean;
}

/** Programs of the system are not on every user's PATH. */
export const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin"}:/usr/sbin:/sbin`,
});

/** Runs a program to its end, and until nobody holds its output. @throws {LabError} when there is no such program */
export function attempt(command: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const { input, env, output = "pipe", detached = false } = options;
  const [program = "", ...args] = command;
  const stdio: SpawnOptions["stdio"] = [input === undefined ? "ignore" : "pipe", output, output];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...environment(), ...env }, stdio, detached });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", (error) => reject(new LabError(`cannot run ${program}: ${error.message}`)));
    child.on("close", (code, by) => resolve({ status: statusOf(code, by), stdout, stderr }));
    child.stdin?.on("error", () => {}); // it did not want it all
    child.stdin?.end(input);
  });
}

/** Runs a program. @returns what it printed, without the last newline @throws {LabError} with what it said, when it fails */
export async function run(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await attempt(command, options);
  if (status !== 0)
    throw new LabError(`${command.join(" ")}: ${`${stderr}${stdout}`.trim() || "failed"} (status ${status})`);
  return stdout.replace(/\n$/, "");
}

/** Runs a program at the user's terminal. @returns its exit status */
export function hand(command: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const [program = "", ...args] = command;
  const stay = () => {}; // the terminal's Ctrl-C reaches the program, whose status is then ours
  process.on("SIGINT", stay);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...environment(), ...env }, stdio: "inherit" });
    child.on("error", (error) => reject(new LabError(`cannot run ${program}: ${error.message}`)));
    child.on("close", (code, by) => {
      process.off("SIGINT", stay);
      resolve(statusOf(code, by));
    });
  });
}

const statusOf = (code: number | null, by: NodeJS.Signals | null) => code ?? 128 + constants.signals[by ?? "SIGKILL"];
