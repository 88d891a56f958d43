import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { defaultBalancer } from "../../src/balancers/index.ts";
import { createDataplane } from "../../src/dataplane/create-dataplane.ts";
import type { Dataplane } from "../../src/dataplane/dataplane.ts";
import type { DriverFor } from "../../src/dataplane/views.ts";
import { drivers } from "../../src/drivers/index.ts";
import type { Kernel, Step } from "../../src/kernel/kernel.ts";
import { calls } from "../../src/kernel/libc.ts";
import { createKernel } from "../../src/kernel/linux-kernel.ts";
import type { NamespaceName, PlanObject } from "../../src/model/plan.ts";
import { createMemoryStore } from "../../src/store/memory-store.ts";
import { leafOf } from "../../src/store/tables.ts";
import type { Store, Transaction } from "../../src/store/store.ts";
import { awaitRoom } from "./host-limits.ts";
import { idOf } from "./rows.ts";
import { type Tap, tapHere } from "./tap.ts";
import { soon, until } from "./until.ts";

const newNet = 0x40000000; // CLONE_NEWNET
/** Where a command runs or a server stands: on the host, in the sandbox of container N, or beyond the uplink. */
export type Place = "host" | "outside" | number;

/** The host's addresses on its uplink, and those of the machine behind it, which has routes to all containers. */
export const addresses = {
  host: "192.0.2.1",
  host6: "2001:db8::1",
  outside: "192.0.2.2",
  outside6: "2001:db8::2",
} as const;

/** A host of its own: a fresh network namespace with the real kernel, a data plane, and another machine behind `uplink`. */
export class RealHost implements AsyncDisposable {
  readonly store: Store = createMemoryStore();
  readonly logged: string[] = [];
  /** Steps that went to the kernel since the last `restart`. */
  steps: Step[] = [];
  kernel: Kernel;
  dataplane: Dataplane;
  readonly #directory = mkdtempSync(join(tmpdir(), "tombolo-host-"));
  readonly #outside: Kernel;
  readonly #closers: (() => void)[] = [];

  readonly #driverFor: DriverFor;

  private constructor(driverFor: DriverFor) {
    this.#driverFor = driverFor;
    assert.equal(calls.unshare(newNet), 0, "needs root");
    run("ip", "link", "set", "lo", "up");
    this.#outside = createKernel({ netnsDir: join(this.#directory, "outside"), engine: "outside" });
    this.#outside.apply(beyond.map((object) => ({ verb: "create", object, owner: "host" })));
    this.#outside.sysctl("host", probes, "1");
    [this.kernel, this.dataplane] = this.#open();
  }

  /** @param driverFor absent: the drivers there are */
  static async open(driverFor: DriverFor = (name) => drivers[name]): Promise<RealHost> {
    await awaitRoom();
    const host = new RealHost(driverFor);
    await host.dataplane.start();
    return host;
  }

  #open(): [Kernel, Dataplane] {
    const real = createKernel({ netnsDir: join(this.#directory, "netns"), engine: "test" });
    const apply = (steps: readonly Step[]) => {
      this.steps.push(...steps);
      real.apply(steps);
    };
    const kernel: Kernel = { ...real, apply };
    const note = (_: object, message: string) => void this.logged.push(message);
    const log = { info: note, warn: note };
    return [
      kernel,
      createDataplane({ store: this.store, kernel, driverFor: this.#driverFor, balancer: defaultBalancer, log }),
    ];
  }

  /** Ends the data plane and its kernel, and starts others that know nothing. */
  async restart(meanwhile = (_: Transaction) => {}): Promise<void> {
    await this.dataplane.stop();
    this.kernel.close();
    await this.store.update(meanwhile);
    this.steps = [];
    [this.kernel, this.dataplane] = this.#open();
    await this.dataplane.start();
  }

  /** Commits, and waits until all that has a row is in the kernel. */
  async commit(change: (tx: Transaction) => void): Promise<void> {
    const { revision } = await this.store.update(change);
    const rows = this.store.snapshot();
    await this.dataplane.settled("host", revision);
    for (const e of rows.list("endpoints"))
      if (e.leaf !== undefined) await this.dataplane.settled(`leaf:${leafOf(e)}`, revision);
    for (const { id } of rows.list("networks")) await this.dataplane.settled(`network:${id}`, revision);
    for (const { id } of rows.list("endpoints")) await this.dataplane.settled(`endpoint:${id}`, revision);
    for (const { id } of rows.list("peers")) await this.dataplane.settled(`peer:${id}`, revision);
  }

  audit(): ReturnType<Dataplane["audit"]> {
    return this.dataplane.audit();
  }

  async assertClean(): Promise<void> {
    assert.deepEqual(await this.dataplane.audit(), []);
  }

  /** @returns milliseconds until the audit is at zero */
  async repaired(what: string): Promise<number> {
    let found: Awaited<ReturnType<Dataplane["audit"]>> = [];
    const isClean = async () => (found = await this.dataplane.audit()).length === 0;
    return until(isClean, () => `${what}: ${JSON.stringify(found.slice(0, 5))}`, soon);
  }

  /** Runs a command. @returns what it printed; undefined when it failed */
  async try(place: Place, command: string, ...args: string[]): Promise<string | undefined> {
    const [first = "", ...rest] = [...this.enter(place), command, ...args];
    try {
      return (await promisify(execFile)(first, rest, { encoding: "utf8" })).stdout;
    } catch {
      return undefined;
    }
  }

  /** Runs a command and waits for it. @throws when it fails */
  run(place: Place, command: string, ...args: string[]): string {
    const [first = "", ...rest] = [...this.enter(place), command, ...args];
    return run(first, ...rest);
  }

  /** Words before a command that runs it there. */
  enter(place: Place): string[] {
    if (place === "host") return [];
    const path =
      place === "outside" ? this.#outside.namespacePath(theOutside) : this.kernel.namespacePath(sandboxOf(place));
    return ["nsenter", `--net=${path}`];
  }

  /** Answers HTTP with the address of whoever asks, on all addresses of the place. */
  serve(place: Place, port: number): void {
    this.inside(place, () => {
      const server = createServer((request, response) => {
        response.setHeader("connection", "close");
        response.end((request.socket.remoteAddress ?? "").replace(/^::ffff:/, ""));
      });
      server.listen(port);
      this.#closers.push(() => server.close());
    });
  }

  /** Answers each datagram with the address of its sender. @returns the port */
  serveUdp(place: Place, address: string): number {
    const kernel = place === "outside" ? this.#outside : this.kernel;
    const namespace = place === "outside" ? theOutside : place === "host" ? "host" : sandboxOf(place);
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (_, from) => socket.send(from.address, from.port, from.address));
    this.#closers.push(() => socket.close());
    socket.bind({ fd: kernel.socket(namespace, { protocol: "udp", address }) });
    return socket.address().port;
  }

  /** Runs `body`, which must be synchronous, with this thread in there. */
  inside<R>(place: Place, body: () => R): R {
    if (place === "outside") return this.#outside.inside(theOutside, body);
    return this.kernel.inside(place === "host" ? "host" : sandboxOf(place), body);
  }

  /**
   * Asks the server at an address and port: once, or until it answers.
   * @returns the address that the server saw; "" when no answer came
   */
  async ask(from: Place, address: string, port: number, isAnswered = true): Promise<string> {
    const at = address.includes(":") ? `[${address}]` : address;
    const curl = ["-s", "-g", "--noproxy", "*", "--connect-timeout", "0.6", "--max-time", "2", `http://${at}:${port}/`];
    const answer = async () => (await this.try(from, "curl", ...curl)) ?? "";
    return isAnswered ? answerTo(answer) : answer();
  }

  /** As `ask`, with one datagram. */
  async askUdp(from: Place, address: string, port: number): Promise<string> {
    const type = address.includes(":") ? "udp6" : "udp4";
    const program = `
      const socket = require("node:dgram").createSocket("${type}");
      socket.on("message", (answer) => { process.stdout.write(answer); socket.close(); });
      socket.send("hello", ${port}, "${address}");
      setTimeout(() => process.exit(), 1000).unref();`;
    return answerTo(async () => (await this.try(from, process.execPath, "-e", program)) ?? "");
  }

  /** Sends one datagram, if that is let out. @param own the sender's port; 0 for any */
  async send(from: Place, address: string, port: number, own = 0): Promise<void> {
    const type = address.includes(":") ? "udp6" : "udp4";
    const program = `
      const socket = require("node:dgram").createSocket("${type}");
      socket.bind(${own}, () => socket.send("hello", ${port}, "${address}", () => socket.close()));`;
    await this.try(from, process.execPath, "-e", program);
  }

  /**
   * Whether an answer comes, which may have to wait for a neighbour that is asked for a second time.
   * @param pattern which every byte of it has, hex
   */
  async pings(from: Place, address: string, pattern = "00", seconds = 20): Promise<boolean> {
    const command = [address.includes(":") ? "ping6" : "ping", "-c", "1", "-W", `${seconds}`, "-p", pattern, address];
    return (await this.try(from, "busybox", ...command)) !== undefined;
  }

  /** Whether none of the addresses answers within a second. */
  async misses(from: Place, ...addresses: readonly string[]): Promise<boolean> {
    return (await Promise.all(addresses.map((to) => this.pings(from, to, "00", 1)))).every((answered) => !answered);
  }

  /** As `tapHere`, until the host is disposed of. */
  tap(place: Place, ...wish: Parameters<typeof tapHere>): Tap {
    const tap = this.inside(place, () => tapHere(...wish));
    this.#closers.push(() => tap.close());
    return tap;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers) close();
    await this.dataplane.stop();
    for (const kernel of [this.kernel, this.#outside]) {
      for (const namespace of kernel.namespaces())
        kernel.apply([{ verb: "remove", object: { kind: "namespace", namespace } }]);
      kernel.close();
    }
    await this.store.close();
    for (const name of ["netns", "outside"]) calls.umount2(join(this.#directory, name), 2);
    rmSync(this.#directory, { recursive: true });
  }
}

/** Asks again while nobody answers: a host may still look for its own addresses (RFC 4862 section 5.4), or have no time. */
async function answerTo(ask: () => Promise<string>): Promise<string> {
  let answer = "";
  await until(async () => (answer = await ask()) !== "", "an answer");
  return answer;
}

const theOutside: NamespaceName = "sandbox:outside";
const sandboxOf = (container: number): NamespaceName => `sandbox:${idOf("5", container)}`;
const peer = { namespace: theOutside, name: "eth0", mac: "02:00:00:00:00:02" } as const;
const on = (namespace: NamespaceName, link: string, address: string): PlanObject => ({
  kind: "address",
  namespace,
  link,
  address,
});
const through = (to: string, via: string): PlanObject => ({
  kind: "route",
  namespace: theOutside,
  to,
  link: "eth0",
  via,
});
const probes = "net.ipv6.conf.default.dad_transmits";
/** The other machine and the cable to it, which has been there for so long that its addresses need no more probing. */
const beyond: readonly PlanObject[] = [
  { kind: "namespace", namespace: theOutside },
  { kind: "sysctl", namespace: theOutside, key: probes, value: "0" },
  { kind: "sysctl", namespace: "host", key: probes, value: "0" },
  { kind: "link", type: "veth", namespace: "host", name: "uplink", mac: "02:00:00:00:00:01", peer },
  on("host", "uplink", `${addresses.host}/24`),
  on("host", "uplink", `${addresses.host6}/64`),
  on(theOutside, "eth0", `${addresses.outside}/24`),
  on(theOutside, "eth0", `${addresses.outside6}/64`),
  through("10.0.0.0/8", addresses.host),
  through("fd00::/16", addresses.host6),
];

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
