import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildBusybox } from "../../tools/busybox-image.ts";

const root = resolve(import.meta.dirname, "../..");
/** The docker client of today, and Debian's: `DOCKER` says which one a test drives. */
export const dockers = ["docker", "/usr/bin/docker"] as const;
const startPatience = 20_000; // milliseconds

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface RunOptions {
  readonly input?: string | Buffer;
  /** The client: a name on the PATH or a path. */
  readonly client?: string;
  readonly timeout?: number;
}

/** A host of its own: a network namespace with a daemon in it, and a second one that plays the outside world. */
export class TestHost {
  readonly directory = mkdtempSync(join(tmpdir(), "tombolo-test-"));
  readonly socket = join(this.directory, "docker.sock");
  readonly dataRoot = join(this.directory, "data");
  readonly execRoot = join(this.directory, "exec");
  readonly namespace = join(this.directory, "host-ns");
  readonly outside = join(this.directory, "outside-ns");
  readonly pidfile = join(this.directory, "tombolod.pid");
  readonly #arguments: readonly string[];
  #child: ChildProcess | undefined;
  #log = "";

  private constructor(args: readonly string[]) {
    this.#arguments = args;
  }

  /** Makes the namespaces, joined by a cable: 198.51.100.1 here, 198.51.100.2 outside (RFC 5737). Then starts the daemon. */
  static async start(
    options: { readonly args?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<TestHost> {
    const host = new TestHost(options.args ?? []);
    for (const file of [host.namespace, host.outside]) {
      writeFileSync(file, "");
      execFileSync("unshare", [`--net=${file}`, "true"]);
    }
    host.here("ip", "link", "set", "lo", "up");
    host.there("ip", "link", "set", "lo", "up");
    const pid = spawn("nsenter", [`--net=${host.outside}`, "sleep", "60"]);
    await sleep(50);
    host.here("ip", "link", "add", "uplink0", "type", "veth", "peer", "name", "eth0", "netns", String(pid.pid));
    pid.kill("SIGKILL");
    host.here("ip", "address", "add", "198.51.100.1/24", "dev", "uplink0");
    host.here("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "uplink0", "nodad");
    host.here("ip", "link", "set", "uplink0", "up");
    host.there("ip", "address", "add", "198.51.100.2/24", "dev", "eth0");
    host.there("ip", "-6", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad");
    host.there("ip", "link", "set", "eth0", "up");
    host.here("ip", "route", "add", "default", "via", "198.51.100.2");
    host.here("ip", "-6", "route", "add", "default", "via", "2001:db8::2");
    await host.startDaemon(options.env);
    return host;
  }

  /** @throws when the daemon ends before it listens: its log is in the message */
  async startDaemon(env: Readonly<Record<string, string>> = {}, more: readonly string[] = []): Promise<void> {
    const child = this.spawnDaemon(env, more);
    const deadline = Date.now() + startPatience;
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`tombolod ended:\n${this.#log}`);
      if (await this.#answers()) return;
      if (Date.now() > deadline) throw new Error(`tombolod does not answer:\n${this.#log}`);
      await sleep(20);
    }
  }

  /** Starts the daemon and does not wait for it. */
  spawnDaemon(env: Readonly<Record<string, string>> = {}, more: readonly string[] = []): ChildProcess {
    const daemon = [
      join(root, "bin/tombolod"),
      "-H",
      `unix://${this.socket}`,
      "--data-root",
      this.dataRoot,
      "--exec-root",
      this.execRoot,
      "--pidfile",
      this.pidfile,
    ];
    const child = spawn("nsenter", [`--net=${this.namespace}`, ...daemon, ...this.#arguments, ...more], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#log = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#log += chunk.toString();
    });
    this.#child = child;
    return child;
  }

  /** What the daemon has said since its start. */
  get log(): string {
    return this.#log;
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async #answers(): Promise<boolean> {
    return (await this.get("/_ping").catch(() => undefined)) !== undefined;
  }

  /** Ends the daemon with a signal; containers, containerd and logger go on. */
  async stopDaemon(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** Runs a command in the daemon's namespace. @throws when it fails */
  here(command: string, ...args: string[]): string {
    return execFileSync("nsenter", [`--net=${this.namespace}`, command, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }
  /** Runs a command in the outside's namespace. @throws when it fails */
  there(command: string, ...args: string[]): string {
    return execFileSync("nsenter", [`--net=${this.outside}`, command, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Runs the docker client; it need not succeed. */
  try(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return new Promise((done) => {
      const child = spawn(options.client ?? "docker", args, {
        env: { ...process.env, DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: join(this.directory, "client") },
        timeout: options.timeout ?? 60_000,
      });
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
      child.on("close", (status) => done({ status: status ?? -1, stdout, stderr }));
      child.stdin.on("error", () => {}); // it did not want it all
      child.stdin.end(options.input);
    });
  }

  /** Runs the docker client. @returns what it printed, without the last newline @throws when it fails */
  async docker(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.try(args);
    assert.equal(status, 0, `docker ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout.replace(/\n$/, "");
  }

  /** Runs the docker client at a terminal, by script(1). @returns what the user sees */
  terminal(command: string): Outcome {
    const env = { ...process.env, DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: join(this.directory, "client") };
    const { status, stdout, stderr } = spawnSync("script", ["-qec", command, "/dev/null"], {
      env,
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status: status ?? -1, stdout: stdout.replaceAll("\r", ""), stderr };
  }

  /** Sends one request to the daemon. */
  call(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: string }> {
    return new Promise((done, fail) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const headers =
        text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
      const sent = request(
        { socketPath: this.socket, path, method, headers: { host: "docker", ...headers } },
        (response) => {
          let all = "";
          response.on("data", (chunk: Buffer) => (all += chunk.toString()));
          response.on("end", () => done({ status: response.statusCode ?? 0, body: all }));
          response.on("error", fail);
        },
      );
      sent.on("error", fail);
      sent.end(text);
    });
  }
  async get(path: string): Promise<string> {
    return (await this.call("GET", path)).body;
  }

  /** Fails when anything is missing or left over. What is under way gets two seconds. */
  async auditIsZero(): Promise<void> {
    let found = "";
    for (let tries = 0; tries < 20; tries += 1) {
      found = await this.get("/tombolo/audit");
      if (found.trim() === "[]") return;
      await sleep(100);
    }
    assert.equal(found.trim(), "[]");
  }

  /** The image `busybox`, built from Debian's. */
  async loadBusybox(): Promise<void> {
    const { image } = await buildBusybox(join(this.directory, "images"));
    const { status, stderr } = await this.try(["load", "-i", image]);
    assert.equal(status, 0, stderr);
  }

  /** Removes all containers and user networks, ends every program, and fails when something is left on the machine. */
  async stop(): Promise<void> {
    const running = await this.#answers();
    if (running) {
      const ids = (await this.docker("ps", "-aq")).split("\n").filter((id) => id !== "");
      if (ids.length > 0) await this.docker("rm", "-f", "-v", ...ids);
      await this.docker("network", "prune", "-f");
      await this.auditIsZero();
    }
    await this.stopDaemon();
    for (const file of ["logger.pid", "containerd/containerd.pid"]) await endProgram(join(this.execRoot, file));
    const left = processesOf(this.directory);
    for (const mount of mountsUnder(this.directory)) execFileSync("umount", ["-l", mount]);
    rmSync(this.directory, { recursive: true, force: true });
    assert.deepEqual(left, [], "programs were left running");
  }
}

async function endProgram(pidfile: string): Promise<void> {
  if (!existsSync(pidfile)) return;
  const pid = Number(readFileSync(pidfile, "utf8"));
  try {
    process.kill(pid, "SIGTERM");
    for (let tries = 0; tries < 100 && existsSync(`/proc/${pid}`); tries += 1) await sleep(50);
    if (existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Command lines of processes that name a directory. */
function processesOf(directory: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return line.includes(directory) ? [line] : [];
      } catch {
        return [];
      }
    });
}

/** Innermost first. */
function mountsUnder(directory: string): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${directory}/`))
    .toReversed();
}
