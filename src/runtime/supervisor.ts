import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { system } from "../lib/errors.ts";

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
/** A program that outlives this one: it is found again by its socket, and started anew when it ends. */
export interface Program {
  readonly name: string;
  readonly socket: string;
  readonly pidfile: string;
  readonly command: readonly [file: string, ...args: string[]];
  /** Where its own messages go. */
  readonly logFile: string;
}
export interface Supervised {
  /** Resolves when the program answers at its socket. */
  start(): Promise<void>;
  /** Kills the program, which is then started again. */
  restart(): void;
  /** Looks no longer. The program goes on, but for one that was begun here when `end`. */
  stop(options: { readonly end: boolean }): Promise<void>;
}
/** Milliseconds. A containerd that ends is noticed at once; one on an emulated, busy processor takes up to 25 s. */
const startPatience = 60_000;
const checkEvery = 500; // milliseconds
const endPatience = 5000; // milliseconds

/**
 * Starts a program, or finds the one that an earlier daemon started, and starts it again whenever it is gone.
 * @param onBack called after it was started again
 */
export function supervise(program: Program, log: Log, onBack: () => void): Supervised {
  let stopped = false;
  let begun: ChildProcess | undefined;
  let starting = Promise.resolve();
  const begin = () => launch(program, (child) => (begun = child));
  async function watch(): Promise<void> {
    while (!stopped) {
      await sleep(checkEvery, undefined, { ref: false });
      if (stopped || isAlive(program)) continue;
      log.warn({ program: program.name }, "a program of ours ended: starting it again");
      try {
        await begin();
        if (!stopped) onBack();
      } catch (err) {
        log.warn({ err, program: program.name }, "it did not start");
      }
    }
  }
  async function find(): Promise<void> {
    if (isAlive(program) && (await answers(program.socket))) log.info({ program: program.name }, "found running");
    else await begin();
    void watch();
  }
  return {
    start() {
      starting = find();
      return starting;
    },
    restart: () => endOld(program),
    async stop({ end }) {
      stopped = true;
      if (!end) return;
      await starting.catch(() => {}); // the caller of start was told
      if (begun !== undefined) await ended(begun);
      if (begun !== undefined) rmSync(program.pidfile, { force: true });
    },
  };
}

/** Asks a program to end, and ends it when it takes long. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), endPatience);
  await gone;
  clearTimeout(late);
}

async function launch(program: Program, onBegun: (child: ChildProcess) => void): Promise<void> {
  endOld(program);
  rmSync(program.socket, { force: true });
  const [file, ...args] = program.command;
  const out = openSync(program.logFile, "a", 0o600);
  // A session of its own: what ends the daemon's terminal or group does not end it.
  const child = spawn(file, args, { detached: true, stdio: ["ignore", out, out], cwd: "/" });
  onBegun(child);
  closeSync(out);
  let failed: Error | undefined;
  child.once("error", (error) => {
    failed = error;
  });
  child.once("exit", (status, signal) => {
    failed = new Error(`it ended with ${signal ?? `status ${status}`}; see ${program.logFile}`);
  });
  child.unref();
  if (child.pid !== undefined) writeFileSync(program.pidfile, `${child.pid}\n`);
  const deadline = Date.now() + startPatience;
  while (!(await answers(program.socket))) {
    if (failed !== undefined) throw system(`${program.name} does not start: ${failed.message}`);
    if (Date.now() > deadline)
      throw system(`${program.name} does not answer at ${program.socket}; see ${program.logFile}`);
    await sleep(10);
  }
}

const pidOf = ({ pidfile }: Program) => {
  try {
    return Number(readFileSync(pidfile, "utf8"));
  } catch {
    return 0;
  }
};

/** A pid may have gone to another program: the socket's path on its command line, or the configuration's, tells ours. */
function isAlive(program: Program): boolean {
  const pid = pidOf(program);
  if (!(pid > 0)) return false;
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return program.command.slice(1).every((arg) => line.includes(arg));
  } catch {
    return false;
  }
}

/** One that lives but does not answer is ended before another takes its place. */
function endOld(program: Program): void {
  if (isAlive(program)) process.kill(pidOf(program), "SIGKILL");
}

/** Asks a program to end that an earlier daemon started, if it is there. */
export function endProgram(program: Program): void {
  if (!isAlive(program)) return;
  process.kill(pidOf(program), "SIGTERM");
  rmSync(program.pidfile, { force: true });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}

/** containerd with what containers need and nothing else, under roots of its own. */
export function containerdProgram(dataRoot: string, execRoot: string): Program {
  const root = join(dataRoot, "containerd");
  const state = join(execRoot, "containerd");
  for (const directory of [root, state]) mkdirSync(directory, { recursive: true, mode: 0o711 });
  const socket = join(state, "containerd.sock");
  const config = join(state, "config.toml");
  const text = (value: string) => JSON.stringify(value);
  writeFileSync(
    config,
    `version = 2
root = ${text(root)}
state = ${text(state)}
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.native", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
oom_score = -500
[grpc]
  address = ${text(socket)}
[ttrpc]
  address = ${text(join(state, "ttrpc.sock"))}
`,
    { mode: 0o600 },
  );
  return {
    name: "containerd",
    socket,
    pidfile: join(state, "containerd.pid"),
    command: ["containerd", "--config", config],
    logFile: join(state, "containerd.log"),
  };
}
