import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { system } from "../lib/errors.ts";
import {
  beginProgram,
  endProgram,
  findProgram,
  keepLooking,
  killProgram,
  type LastingProgram,
} from "../lib/lasting-program.ts";

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
/** A program that is started anew when it ends, and answers at a socket. */
export interface Program extends Omit<LastingProgram, "marks"> {
  readonly name: string;
  readonly socket: string;
  readonly command: readonly [file: string, ...args: string[]];
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
const endPatience = 5000; // milliseconds

const lasting = (program: Program): LastingProgram => ({ ...program, marks: program.command.slice(1) });

/**
 * Starts a program, or finds the one that an earlier daemon started, and starts it again whenever it is gone.
 * @param onBack called after it was started again
 */
export function supervise(program: Program, log: Log, onBack: () => void): Supervised {
  const { name } = program;
  const stopped = new AbortController();
  let isBegun = false;
  let starting = Promise.resolve();
  const begin = async () => {
    isBegun = true;
    await launch(program);
  };
  async function look(): Promise<void> {
    if (findProgram(lasting(program)) !== undefined) return;
    log.warn({ program: name }, "a program of ours ended: starting it again");
    await begin();
    if (!stopped.signal.aborted) onBack();
  }
  async function find(): Promise<void> {
    if (findProgram(lasting(program)) !== undefined && (await answers(program.socket)))
      log.info({ program: name }, "found running");
    else await begin();
    void keepLooking(look, (err) => log.warn({ err, program: name }, "it did not start"), stopped.signal);
  }
  return {
    start() {
      starting = find();
      return starting;
    },
    restart: () => killProgram(lasting(program)),
    async stop({ end }) {
      stopped.abort();
      if (!end) return;
      await starting.catch(() => {}); // the caller of start was told
      if (isBegun) await endProgram(lasting(program), endPatience);
    },
  };
}

async function launch(program: Program): Promise<void> {
  const { name, socket, logFile } = program;
  // One that lives but does not answer is ended before another takes its place.
  await endProgram(lasting(program), 0);
  rmSync(socket, { force: true });
  let failed: string | undefined;
  void beginProgram(lasting(program), program.command).then((reason) => (failed = reason));
  const deadline = Date.now() + startPatience;
  while (!(await answers(socket))) {
    if (failed !== undefined) throw system(`${name} does not start: ${failed}`);
    if (Date.now() > deadline) throw system(`${name} does not answer at ${socket}; see ${logFile}`);
    await sleep(10);
  }
}

/** Ends a program that an earlier daemon started, if it is there. */
export const endLeftOver = (program: Program): Promise<void> => endProgram(lasting(program), endPatience);

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
