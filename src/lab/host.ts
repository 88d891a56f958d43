import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { answers, ask, audit, loadImage, type Reply } from "./client.ts";
import { attempt, LabError, type Outcome, run } from "./command.ts";
import { isAlive, kill, type Process, processesIn } from "./processes.ts";
import { address6Of, addressOf, type Cut, cutWire, gateway, healWire, plugIn } from "./switch.ts";

const bootScript = fileURLToPath(new URL("boot.sh", import.meta.url));
const daemonProgram = fileURLToPath(new URL("../../bin/tombolod", import.meta.url));
// In the host's own /run, which is gone with the host: its mounts and sockets need no clearing away.
const execRoot = "/run/tombolo";
const pidfile = `${execRoot}/tombolod.pid`;
const patience = 30_000; // milliseconds

export interface StartOptions {
  /** More arguments for tombolod. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}
/** `gone`: the host's first process was ended, and with it the host. */
export type HostState = "running" | "stopped" | "gone";

/** A host of a lab: what is on the disk under its directory, and what runs in its namespaces. */
export class LabHost {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  readonly address6: string;
  readonly directory: string;
  /** For `docker -H unix://…`, from everywhere on this machine. */
  readonly socket: string;
  /** File that pins the host's network namespace, for `nsenter --net=…`. */
  readonly pin: string;
  /** What the daemon says. */
  readonly logFile: string;
  readonly #switch: string;
  readonly #args: readonly string[];

  /** @param args arguments for tombolod, given at each start */
  constructor(lab: { readonly directory: string; readonly switch: string }, number: number, args: readonly string[]) {
    this.number = number;
    this.name = `h${number}`;
    this.address = addressOf(number);
    this.address6 = address6Of(number);
    this.directory = join(lab.directory, this.name);
    this.socket = join(this.directory, "docker.sock");
    this.pin = join(this.directory, "net");
    this.logFile = join(this.directory, "tombolod.log");
    this.#switch = lab.switch;
    this.#args = args;
  }

  /** Makes the host, plugs it in and starts its first process. @throws {LabError} with what failed */
  async create(hosts: number): Promise<void> {
    for (const name of ["etc", "data", "tmp"]) mkdirSync(join(this.directory, name), { recursive: true });
    const write = (name: string, text: string) => writeFileSync(join(this.directory, name), text);
    write("daemon.json", "{}\n");
    write("etc/hostname", `${this.name}\n`);
    write("etc/hosts", hostsFile(hosts));
    write("etc/resolv.conf", `nameserver ${gateway.address}\n`);
    await plugIn(this.number, this.pin, this.#switch);
    const boot = ["sh", bootScript, this.directory, this.name];
    // The first child of unshare's shell is process 1 of the new namespace; the shell itself stays outside, and ends.
    const namespaces = ["unshare", "--mount", "--propagation", "slave", "--uts", "--pid"];
    const command = ["nsenter", `--net=${this.pin}`, ...namespaces, "sh", "-c", '"$@" &', "sh", ...boot];
    const { stdout, stderr } = await attempt(command, { detached: true });
    if (!stdout.includes("ready")) throw new LabError(`${this.name} does not come up: ${stderr.trim()}`);
  }

  /** Every process in the host's network namespace: all but those in containers, which end with the first one. */
  processes(): Process[] {
    return processesIn([this.pin]);
  }
  #first(processes: readonly Process[]): Process | undefined {
    return processes.find(({ inner, command }) => inner === 1 && command.includes(bootScript));
  }
  #daemon(processes: readonly Process[]): Process | undefined {
    const first = this.#first(processes);
    if (first === undefined) return undefined;
    const inner = Number(readText(`/proc/${first.pid}/root${pidfile}`));
    return processes.find((p) => p.inner === inner && p.command.includes("tombolod") && isAlive(p));
  }

  state(): HostState {
    const processes = this.processes();
    if (this.#first(processes) === undefined) return "gone";
    return this.#daemon(processes) === undefined ? "stopped" : "running";
  }

  /** The command that runs another one in the host. @throws {LabError} when the host is gone */
  enter(...command: string[]): string[] {
    const first = this.#first(this.processes());
    if (first === undefined) throw new LabError(`${this.name} is gone: end the lab with \`lab down\``);
    return ["nsenter", "-t", String(first.pid), "--net", "--mount", "--uts", "--pid", "--", ...command];
  }
  /** What programs in the host find in their environment. */
  get env(): Readonly<Record<string, string>> {
    return { DOCKER_HOST: `unix://${this.socket}` };
  }

  /** Runs a program in the host; it need not succeed. */
  try(...command: string[]): Promise<Outcome> {
    return attempt(this.enter(...command), { env: this.env });
  }
  /** Runs a program in the host. @returns what it printed, without the last newline @throws {LabError} when it fails */
  run(...command: string[]): Promise<string> {
    return run(this.enter(...command), { env: this.env });
  }
  /** Runs the docker client of this machine with the host's daemon. @throws {LabError} when it fails */
  docker(...args: string[]): Promise<string> {
    return run(["docker", ...args], { env: this.env });
  }
  /** Runs the docker client; it need not succeed. */
  tryDocker(...args: string[]): Promise<Outcome> {
    return attempt(["docker", ...args], { env: this.env });
  }
  /** One call of the daemon's API. @param body goes as JSON @throws when nobody answers */
  ask(method: string, path: string, body?: object): Promise<Reply> {
    return ask(this.socket, method, path, body);
  }
  loadImage(archive: string): Promise<void> {
    return loadImage(this.socket, archive);
  }
  /** What the daemon's audit finds, once what is under way is done: at most two seconds. */
  async audit(): Promise<unknown[]> {
    for (let tries = 0; ; tries += 1) {
      const found = await audit(this.socket);
      if (found.length === 0 || tries === 20) return found;
      await sleep(100);
    }
  }

  /** Starts the daemon and waits until it answers. @throws {LabError} with the end of its log, when it does not */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.state() === "running") throw new LabError(`tombolod runs already on ${this.name}`);
    const script = `mkdir -p ${execRoot}; setsid "$@" & echo $! >${pidfile}`;
    const log = openSync(this.logFile, "a", 0o600);
    try {
      const command = this.enter("sh", "-c", script, "sh", ...this.#daemonCommand(options.args ?? []));
      const env = { TMPDIR: join(this.directory, "tmp"), ...options.env };
      await attempt(command, { env, output: log, detached: true });
    } finally {
      closeSync(log);
    }
    await this.#answers(options.signal);
  }

  #daemonCommand(more: readonly string[]): string[] {
    const roots = ["--data-root", join(this.directory, "data"), "--exec-root", execRoot, "--pidfile", pidfile];
    const config = ["--config-file", join(this.directory, "daemon.json")];
    return [daemonProgram, "-H", `unix://${this.socket}`, ...roots, ...config, ...this.#args, ...more];
  }

  async #answers(signal?: AbortSignal): Promise<void> {
    // A program that is just being exchanged for another one (execve) has no command line for a moment.
    let missed = 0;
    for (const deadline = Date.now() + patience; !(await answers(this.socket)); await sleep(50)) {
      signal?.throwIfAborted();
      missed = this.state() === "running" ? 0 : missed + 1;
      const ended = missed > 2;
      if (!ended && Date.now() < deadline) continue;
      const log = (readText(this.logFile) ?? "").trimEnd().split("\n").slice(-5).join("\n");
      throw new LabError(`tombolod on ${this.name} ${ended ? "ended" : "does not answer"}:\n${log}`);
    }
  }

  /** Ends the daemon as a power cut would, and nothing else. @throws {LabError} when none runs */
  async kill(): Promise<void> {
    const daemon = this.#daemon(this.processes());
    if (daemon === undefined) throw new LabError(`no tombolod runs on ${this.name}`);
    await kill([daemon]);
  }

  /** Cuts the wire to the switch. */
  cut(how: Cut = "both"): Promise<void> {
    return cutWire(this.#switch, this.number, how);
  }
  heal(): Promise<void> {
    return healWire(this.#switch, this.number);
  }
}

const hostsFile = (hosts: number) => {
  const names = Array.from({ length: hosts }, (_, i) => i + 1);
  const lines = names.flatMap((n) => [`${addressOf(n)} h${n}`, `${address6Of(n)} h${n}`]);
  const own = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", `${gateway.address} gateway`];
  return `${[...own, `${gateway.address6} gateway`, ...lines].join("\n")}\n`;
};

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
