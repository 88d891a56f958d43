import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { after, afterEach, before } from "node:test";
import { buildBusybox } from "../../tools/busybox-image.ts";
import { mountsUnder, processesOf } from "./leftovers.ts";
import { soon, until } from "./until.ts";

const root = resolve(import.meta.dirname, "../..");

/** Every docker client of this machine: the one on the PATH, and Debian's, installed or unpacked by tools/setup.sh. */
export const dockers: readonly string[] = [
  ...new Map(
    [
      ...(process.env.PATH ?? "").split(delimiter).map((directory) => join(directory, "docker")),
      "/usr/bin/docker",
      join(root, "build/debian-docker/usr/bin/docker"),
    ]
      .filter((path) => existsSync(path))
      .map((path) => [realpathSync(path), path]),
  ).values(),
];

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
export interface HostOptions {
  /** More arguments for tombolod. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const hosts = new Set<TestHost>();
// The runner ends a file that takes too long: its daemons must not outlive it.
for (const signal of ["SIGTERM", "SIGINT"] as const)
  process.once(signal, () => {
    for (const host of hosts) host.abandon();
    process.exit(1);
  });

/**
 * A host for the tests of one file or suite, with busybox loaded. Each test must leave the audit at zero, and the last
 * one nothing on the machine. With `clear`, each test begins without containers and networks.
 */
export function useHost(options: HostOptions & { readonly clear?: boolean } = {}): () => TestHost {
  let host: TestHost | undefined;
  before(async () => {
    host = await TestHost.start(options);
    await host.loadBusybox();
  });
  afterEach(async () => {
    if (host === undefined) return;
    if (host.ended) await host.startDaemon(options.env);
    try {
      await host.auditIsZero();
    } finally {
      if (options.clear === true) await host.clear();
    }
  });
  after(() => host?.stop());
  return () => {
    assert.ok(host, "the host did not start");
    return host;
  };
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
  readonly #failpoint = join(this.directory, "failpoint");
  readonly #arguments: readonly string[];
  readonly #background: ChildProcess[] = [];
  #child: ChildProcess | undefined;
  #log = "";

  private constructor(args: readonly string[]) {
    this.#arguments = args;
    hosts.add(this);
  }

  /** Makes the namespaces, joined by a cable: 198.51.100.1 here, 198.51.100.2 outside (RFC 5737). Then starts the daemon. */
  static async start(options: HostOptions = {}): Promise<TestHost> {
    const host = await TestHost.prepare(options);
    try {
      await host.startDaemon(options.env);
    } catch (error) {
      host.abandon();
      throw error;
    }
    return host;
  }

  /** The namespaces without a daemon. */
  static async prepare(options: HostOptions = {}): Promise<TestHost> {
    const host = new TestHost(options.args ?? []);
    for (const file of [host.namespace, host.outside]) {
      writeFileSync(file, "");
      execFileSync("unshare", [`--net=${file}`, "true"]);
    }
    host.here("ip", "link", "set", "lo", "up");
    host.there("ip", "link", "set", "lo", "up");
    host.here("ip", "link", "add", "uplink0", "type", "veth", "peer", "name", "eth0", "netns", host.outside);
    host.here("ip", "address", "add", "198.51.100.1/24", "dev", "uplink0");
    host.here("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "uplink0", "nodad");
    host.here("ip", "link", "set", "uplink0", "up");
    host.there("ip", "address", "add", "198.51.100.2/24", "dev", "eth0");
    host.there("ip", "-6", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad");
    host.there("ip", "link", "set", "eth0", "up");
    host.here("ip", "route", "add", "default", "via", "198.51.100.2");
    host.here("ip", "-6", "route", "add", "default", "via", "2001:db8::2");
    return host;
  }

  /** @throws when the daemon ends before it listens: its log is in the message */
  async startDaemon(env: Readonly<Record<string, string>> = {}, more: readonly string[] = []): Promise<void> {
    const child = this.spawnDaemon(env, more);
    await until(
      () => hasEnded(child) || this.answers(),
      () => `tombolod answers:\n${this.#log}`,
    );
    if (hasEnded(child)) throw new Error(`tombolod ended:\n${this.#log}`);
  }

  /** Starts a daemon that passes all failpoints until `arm`. */
  async startArmable(): Promise<void> {
    rmSync(this.#failpoint, { force: true });
    await this.startDaemon({ TOMBOLO_FAILPOINT: `@${this.#failpoint}` });
  }
  /** @param failpoint as in TOMBOLO_FAILPOINT */
  arm(failpoint: string): void {
    writeFileSync(this.#failpoint, failpoint);
  }

  /** Starts the daemon and does not wait for it. */
  spawnDaemon(env: Readonly<Record<string, string>> = {}, more: readonly string[] = []): ChildProcess {
    const own = ["-H", `unix://${this.socket}`, "--data-root", this.dataRoot, "--exec-root", this.execRoot];
    const args = [...own, "--pidfile", this.pidfile, ...this.#arguments, ...more];
    const child = spawn("nsenter", [`--net=${this.namespace}`, join(root, "bin/tombolod"), ...args], {
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
  /** Whether the daemon's process is gone. */
  get ended(): boolean {
    return this.#child === undefined || hasEnded(this.#child);
  }

  async answers(): Promise<boolean> {
    return (await this.get("/_ping").catch(() => undefined)) !== undefined;
  }

  /** Ends the daemon with a signal; containers, containerd and logger go on. */
  async stopDaemon(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** Runs a command in the daemon's namespace. @throws when it fails */
  here(command: string, ...args: string[]): string {
    return inside(this.namespace, command, ...args);
  }
  /** Runs a command in the outside's namespace. @throws when it fails */
  there(command: string, ...args: string[]): string {
    return inside(this.outside, command, ...args);
  }
  /** Starts a command in a namespace; it ends with the host. */
  background(namespace: string, command: string, ...args: string[]): ChildProcess {
    const child = spawn("nsenter", [`--net=${namespace}`, command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#background.push(child);
    return child;
  }

  /** The namespace of a running container, as a path for `nsenter --net`. */
  sandboxOf(container: string): Promise<string> {
    return this.docker("inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container);
  }

  /** Runs the docker client; it need not succeed. */
  try(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return new Promise((done) => {
      const child = spawn(options.client ?? "docker", args, {
        env: this.#clientEnv(),
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

  /** Runs a shell line as a user of this host would. @returns both outputs, as a terminal mixes them, in `stdout` */
  shell(line: string): Outcome {
    const { status, stdout, stderr } = spawnSync(
      "nsenter",
      [`--net=${this.namespace}`, "sh", "-c", `exec 2>&1; ${line}`],
      {
        env: this.#clientEnv(),
        encoding: "utf8",
        cwd: root,
        timeout: 60_000,
      },
    );
    return { status: status ?? -1, stdout, stderr };
  }

  /** Runs the docker client at a terminal, by script(1). @returns what the user sees */
  terminal(command: string): Outcome {
    const { status, stdout, stderr } = spawnSync("script", ["-qec", command, "/dev/null"], {
      env: this.#clientEnv(),
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status: status ?? -1, stdout: stdout.replaceAll("\r", ""), stderr };
  }

  /** The same, for a user who types: write to `stdin`, read `seen`. */
  typing(command: string): Typist {
    const child = spawn("script", ["-qec", command, "/dev/null"], { env: this.#clientEnv() });
    this.#background.push(child);
    return new Typist(child);
  }

  #clientEnv(): NodeJS.ProcessEnv {
    return { ...process.env, DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: join(this.directory, "client") };
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
          response.on("aborted", () => fail(new Error("the daemon hung up")));
        },
      );
      sent.on("error", fail);
      sent.end(text);
    });
  }
  async get(path: string): Promise<string> {
    return (await this.call("GET", path)).body;
  }

  /** Fails when anything is missing or left over, and does not come or go by itself. */
  async auditIsZero(): Promise<void> {
    let found = "";
    await until(
      async () => (found = (await this.get("/tombolo/audit")).trim()) === "[]",
      () => found,
      soon,
    );
  }

  /** The image `busybox`, built from Debian's. */
  async loadBusybox(): Promise<void> {
    const { image } = await buildBusybox(join(this.directory, "images"));
    const { status, stderr } = await this.try(["load", "-i", image]);
    assert.equal(status, 0, stderr);
  }

  /** Removes all containers and user networks. */
  async clear(): Promise<void> {
    const ids = (await this.docker("ps", "-aq")).split("\n").filter((id) => id !== "");
    if (ids.length > 0) await this.docker("rm", "-f", "-v", ...ids);
    await this.docker("network", "prune", "-f");
    await this.docker("volume", "prune", "-f");
  }

  /** Removes what the tests made, ends every program, and fails when something is left on the machine. */
  async stop(): Promise<void> {
    const left: string[] = [];
    try {
      if (await this.answers()) {
        await this.clear();
        await this.auditIsZero();
        const links = JSON.parse(this.here("ip", "-json", "link", "show")) as { ifname: string }[];
        const known = ["lo", "uplink0", ...linksOfKernel, ...["docker0", "tombolo0"]];
        left.push(...links.filter((link) => !known.includes(link.ifname)).map((link) => `link ${link.ifname}`));
      }
      await this.stopDaemon();
      for (const file of ["logger.pid", "containerd/containerd.pid"]) await endProgram(join(this.execRoot, file));
      this.#endBackground();
      await until(() => processesOf(this.directory).pids.length === 0).catch(() => {}); // they are told below
      left.push(...processesOf(this.directory).lines);
      const own = [this.namespace, this.outside];
      left.push(...this.#strayMounts().filter((path) => !own.includes(path)));
    } finally {
      this.abandon();
    }
    assert.deepEqual(left, [], "left on the machine");
  }

  /** The default networks' namespaces end with the machine, not with the daemon; everything else is a stray. */
  #strayMounts(): string[] {
    return mountsUnder(this.directory).filter((path) => !path.startsWith(join(this.execRoot, "netns")));
  }

  #endBackground(): void {
    for (const child of this.#background) child.kill("SIGKILL");
  }

  /** Ends and removes everything at once, whatever state it is in. */
  abandon(): void {
    hosts.delete(this);
    this.#endBackground();
    this.#child?.kill("SIGKILL");
    for (const pid of processesOf(this.directory).pids)
      try {
        process.kill(pid, "SIGKILL");
      } catch {} // it was quicker
    for (const mount of mountsUnder(this.directory)) spawnSync("umount", ["-l", mount]);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Somebody at a terminal. */
export class Typist {
  readonly #child: ChildProcess;
  #seen = "";
  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => (this.#seen += chunk.toString()));
  }
  type(text: string): void {
    this.#child.stdin?.write(text);
  }
  /** Waits until the screen has shown `text`. */
  async sees(text: string | RegExp): Promise<void> {
    await until(
      () => new RegExp(text).test(this.#seen),
      () => `${text} in ${JSON.stringify(this.#seen)}`,
    );
  }
  /** @returns the exit status */
  async done(): Promise<number> {
    if (!hasEnded(this.#child)) await once(this.#child, "exit");
    return this.#child.exitCode ?? -1;
  }
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;
/** Links that some kernels put into every new namespace. */
const linksOfKernel = ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/** Runs a command in a network namespace. @throws when it fails */
export const inside = (namespace: string, command: string, ...args: string[]): string =>
  execFileSync("nsenter", [`--net=${namespace}`, command, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

async function endProgram(pidfile: string): Promise<void> {
  if (!existsSync(pidfile)) return;
  const pid = Number(readFileSync(pidfile, "utf8"));
  try {
    process.kill(pid, "SIGTERM");
    await until(() => !existsSync(`/proc/${pid}`)).catch(() => process.kill(pid, "SIGKILL"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
