import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const root = resolve(import.meta.dirname, "..");
const debians = ["/usr/sbin/dockerd", join(root, "build/debian-docker/usr/sbin/dockerd")];
const places = ["-H", "unix://SOCKET", "--data-root", "DATA", "--exec-root", "EXEC", "--pidfile", "PID"];
/** The two kinds of daemon, with their flags. */
export const tombolod = [join(root, "bin/tombolod"), ...places];
export const dockerd = [debians.find((path) => existsSync(path)) ?? "dockerd", ...places, "--userland-proxy=false"];

const open = new Set<Engine>();
/** Ends all that were not cleaned yet: a run may be broken off anywhere. */
export async function cleanAll(): Promise<void> {
  for (const engine of open) await engine.clean();
}

/** A daemon under measurement, in a network namespace of its own. */
export class Engine {
  readonly name: string;
  readonly directory: string;
  readonly socket: string;
  readonly namespace: string;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;

  /** @param command the daemon with its flags; SOCKET, DATA, EXEC and PID are replaced */
  constructor(name: string, parent: string, command: readonly string[]) {
    this.name = name;
    this.directory = join(parent, name);
    this.socket = join(this.directory, "docker.sock");
    this.namespace = join(this.directory, "ns");
    const paths = {
      SOCKET: this.socket,
      DATA: join(this.directory, "data"),
      EXEC: join(this.directory, "exec"),
      PID: join(this.directory, "pid"),
    };
    this.#command = command.map((word) =>
      Object.entries(paths).reduce((text, [key, value]) => text.replace(key, value), word),
    );
    mkdirSync(this.directory, { recursive: true });
    open.add(this);
    writeFileSync(this.namespace, "");
    execFileSync("unshare", [`--net=${this.namespace}`, "ip", "link", "set", "lo", "up"]);
  }

  /** @returns milliseconds until it answers */
  async start(): Promise<number> {
    const begun = performance.now();
    this.#child = spawn("nsenter", [`--net=${this.namespace}`, ...this.#command], {
      stdio: ["ignore", "ignore", process.env.BENCH_LOG ? "inherit" : "ignore"],
    });
    for (;;) {
      if ((await this.call("GET", "/_ping").catch(() => 0)) === 200) return performance.now() - begun;
      if (this.#child.exitCode !== null) throw new Error(`${this.name} ended with ${this.#child.exitCode}`);
      await sleep(5);
    }
  }

  /** A first start writes what later ones find: memory and times are those of a daemon that was started before. */
  async warm(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async stop(): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await gone;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }
  /** Resident memory of the daemon in MiB. */
  memory(): number {
    return memoryOf(this.pid);
  }

  /** @returns the status */
  async call(method: string, path: string, body?: object): Promise<number> {
    return (await this.ask(method, path, body)).status;
  }
  async ask(method: string, path: string, body?: object): Promise<{ readonly status: number; readonly text: string }> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      host: "docker",
      ...(body && { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
    };
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: this.socket, method, path, headers, agent: false }, (response) => {
        let said = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: said }));
      });
      sent.on("error", reject).end(text);
    });
  }
  /** @returns milliseconds @throws when it is refused */
  async timed(method: string, path: string, body?: object): Promise<number> {
    const begun = performance.now();
    const { status, text } = await this.ask(method, path, body);
    if (status >= 400) throw new Error(`${this.name}: ${method} ${path}: ${status} ${text}`);
    return performance.now() - begun;
  }

  docker(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync("docker", args, {
      env: { ...process.env, DOCKER_HOST: `unix://${this.socket}` },
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${this.name}: docker ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  /** Ends what it left running, and removes its directory. */
  async clean(): Promise<void> {
    const answers = (await this.call("GET", "/_ping").catch(() => 0)) === 200;
    const ids = (answers ? this.docker("ps", "-aq") : "").split("\n").filter((id) => id !== "");
    for (let at = 0; at < ids.length; at += 50) this.docker("rm", "-f", ...ids.slice(at, at + 50));
    await this.stop();
    for (const file of ["exec/logger.pid", "exec/containerd/containerd.pid", "exec/swarm/etcd.pid"]) {
      try {
        process.kill(Number(readFileSync(join(this.directory, file), "utf8")), "SIGTERM");
      } catch {
        // dockerd ends its own containerd
      }
    }
    await sleep(1000);
    for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n").toReversed()) {
      const path = line.split(" ")[1] ?? "";
      if (path.startsWith(`${this.directory}/`)) spawnSync("umount", ["-l", path]);
    }
    rmSync(this.directory, { recursive: true, force: true });
    open.delete(this);
  }
}

/** Resident memory of a process in MiB. */
export const memoryOf = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
