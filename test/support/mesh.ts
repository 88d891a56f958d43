import assert from "node:assert/strict";
import { type ChildProcessByStdio, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { calls } from "../../src/kernel/libc.ts";
import { fileOf } from "../../src/kernel/namespaces.ts";
import type { NamespaceName } from "../../src/model/plan.ts";
import { ingressSandbox } from "../../src/model/sandbox.ts";
import { awaitRoom } from "./host-limits.ts";
import type { Asking } from "./mesh-client.ts";
import { Flow } from "./flow.ts";
import type { FlowWish } from "./flow-client.ts";
import type { Order, RowChange } from "./mesh-host.ts";
import {
  addressOf,
  backendChange,
  containerChanges,
  entryChanges,
  entryMember,
  hostAddress,
  hostChanges,
  peerChange,
} from "./mesh-rows.ts";
import { idOf } from "./rows.ts";

const newNet = 0x40000000; // CLONE_NEWNET
/** A client beyond the hosts' wire, and one still further, behind a link that carries less. */
export const client = { ip: "198.51.100.1", ip6: "2001:db8:ffff::1" } as const;
export const farClient = { ip: "203.0.113.1", ip6: "2001:db8:fafa::1", mtu: 1300 } as const;

/** Where a command runs: where the one or the other client is, on host N, or in a sandbox of host N. */
export type Spot = "outside" | "far" | { readonly host: number; readonly sandbox?: number | "ingress" };

const support = (name: string) => join(import.meta.dirname, name);

/** One host: a program with a data plane in a network namespace of its own. */
class MeshHost {
  readonly number: number;
  readonly directory: string;
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(number: number, directory: string) {
    this.number = number;
    this.directory = directory;
    const words = ["-n", process.execPath, support("mesh-host.ts"), directory];
    this.process = spawn("unshare", words, { stdio: ["pipe", "pipe", "inherit"] });
    const lines: Interface = createInterface({ input: this.process.stdout });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#answers.next();
    assert.ok(done !== true, `host ${this.number} has ended`);
    const answer = JSON.parse(value) as unknown;
    if (answer !== null && typeof answer === "object" && "error" in answer) throw new Error(String(answer.error));
    return answer;
  }

  async ready(): Promise<void> {
    assert.equal(await this.#answer(), "ready");
  }

  /** One order after the other. */
  tell(order: Order): Promise<unknown> {
    const told = this.#last
      .catch(() => {})
      .then(() => {
        this.process.stdin.write(`${JSON.stringify(order)}\n`);
        return this.#answer();
      });
    this.#last = told;
    return told;
  }

  /** @returns the steps that it took */
  commit = async (changes: readonly RowChange[]) => (await this.tell({ verb: "commit", changes })) as string[];
  /** @param changes of its rows, meanwhile @returns the steps that a new data plane took */
  restart = async (changes: readonly RowChange[] = []) => (await this.tell({ verb: "restart", changes })) as string[];
  audit = async () => (await this.tell({ verb: "audit" })) as string[];

  async stop(): Promise<void> {
    this.process.stdin.write(`${JSON.stringify({ verb: "stop" } satisfies Order)}\n`);
    if (this.process.exitCode === null) await once(this.process, "exit");
    calls.umount2(this.directory, 2);
  }
}

/** Hosts on one wire, each with its rows, and a client behind it. Everything is in namespaces that end with the programs in them. */
export class Mesh implements AsyncDisposable {
  readonly hosts: readonly MeshHost[];
  readonly #directory = mkdtempSync(join(tmpdir(), "tombolo-mesh-"));
  readonly #flows: Flow[] = [];
  readonly #far = spawn("unshare", ["-n", "sleep", "infinity"], { stdio: "ignore" });

  private constructor(count: number) {
    assert.equal(calls.unshare(newNet), 0, "needs root");
    this.hosts = Array.from({ length: count }, (_, i) => {
      const directory = join(this.#directory, String(i + 1));
      mkdirSync(directory);
      return new MeshHost(i + 1, directory);
    });
  }

  /** @param count of hosts, each with an ingress sandbox */
  static async open(count: number): Promise<Mesh> {
    await awaitRoom();
    const mesh = new Mesh(count);
    mesh.#ip("outside", "link set lo up", "link add wire type bridge", "link set wire up");
    mesh.#ip("outside", "address add 192.0.2.254/24 dev wire", "address add 2001:db8::fe/64 dev wire nodad");
    mesh.#ip("outside", `address add ${client.ip}/32 dev lo`, `address add ${client.ip6}/128 dev lo nodad`);
    mesh.run("outside", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    await Promise.all(mesh.hosts.map((host) => host.ready()));
    for (const host of mesh.hosts) mesh.#wire(host);
    await mesh.#wireFar();
    for (const { number } of mesh.hosts) await mesh.#addEntry(number);
    return mesh;
  }

  async #wireFar(): Promise<void> {
    const own = readlinkSync("/proc/thread-self/ns/net");
    while (readlinkSync(`/proc/${this.#far.pid}/ns/net`) === own) await sleep(5);
    const mtu = `mtu ${farClient.mtu}`;
    for (const spot of ["outside", "far"] as const)
      this.run(spot, "sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0");
    this.#ip("outside", `link add narrow ${mtu} type veth peer name narrow ${mtu} netns ${this.#far.pid}`);
    this.#ip("outside", "link set narrow up", "address add 203.0.113.254/24 dev narrow");
    this.#ip("outside", "address add 2001:db8:fafa::fe/64 dev narrow nodad");
    this.#ip("far", "link set lo up", "link set narrow up", `address add ${farClient.ip}/24 dev narrow`);
    this.#ip("far", `address add ${farClient.ip6}/64 dev narrow nodad`);
    this.#ip("far", "route add default via 203.0.113.254", "-6 route add default via 2001:db8:fafa::fe");
  }

  #wire({ number: host, process: { pid } }: MeshHost): void {
    const spot = { host };
    this.#ip("outside", `link add wire${host} mtu 1500 type veth peer name uplink netns ${pid}`);
    this.#ip("outside", `link set wire${host} master wire`, `link set wire${host} up`);
    this.run(spot, "sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0", "net.ipv6.conf.uplink.dad_transmits=0");
    this.#ip(spot, "link set lo up", "link set uplink up");
    this.#ip(spot, `address add ${hostAddress(host)}/24 dev uplink`);
    this.#ip(spot, `address add ${hostAddress(host, true)}/64 dev uplink nodad`);
    this.#ip(spot, "route add default via 192.0.2.254", "-6 route add default via 2001:db8::fe");
  }

  #ip(spot: Spot, ...commands: readonly string[]): void {
    for (const command of commands) this.run(spot, "ip", ...command.split(" "));
  }

  host(number: number): MeshHost {
    const found = this.hosts[number - 1];
    assert.ok(found);
    return found;
  }

  async #addEntry(number: number): Promise<void> {
    await this.host(number).commit([...hostChanges(number), ...entryChanges(number)]);
    await this.#toOthers(number, [peerChange(number, entryMember(number), "ingress")]);
  }

  #toOthers(number: number, changes: readonly RowChange[]): Promise<unknown> {
    return Promise.all(this.hosts.map((host) => (host.number === number ? undefined : host.commit(changes))));
  }

  /** @returns the steps that each host took */
  async commit(...changes: readonly RowChange[]): Promise<string[][]> {
    return Promise.all(this.hosts.map((host) => host.commit(changes)));
  }

  async addContainer(host: number, member: number, networks: readonly ("ingress" | "shop")[]): Promise<void> {
    await this.host(host).commit(containerChanges(host, member, networks));
    await this.#toOthers(
      host,
      networks.map((network) => peerChange(host, member, network)),
    );
  }

  /** A task of a service, which answers at a port. Services of the ingress network have their tasks there. */
  async addTask(
    service: number,
    host: number,
    member: number,
    network: "ingress" | "shop",
    port: number,
  ): Promise<void> {
    await this.addContainer(host, member, [network]);
    const namespace: NamespaceName = `sandbox:${idOf("5", member)}`;
    await this.host(host).tell({ verb: "serve", namespace, name: `task${member}`, port });
    await this.commit(backendChange(service, member, host, network));
  }

  enter(spot: Spot): string[] {
    if (spot === "outside") return [];
    if (spot === "far") return ["nsenter", `--net=/proc/${this.#far.pid}/ns/net`];
    const { directory, process: host } = this.host(spot.host);
    if (spot.sandbox === undefined) return ["nsenter", `--net=/proc/${host.pid}/ns/net`];
    const id = spot.sandbox === "ingress" ? ingressSandbox : idOf("5", spot.sandbox);
    return ["nsenter", `--net=${join(directory, fileOf(`sandbox:${id}`))}`];
  }

  /** @throws when it fails */
  run(spot: Spot, command: string, ...args: string[]): string {
    const [first = "", ...rest] = [...this.enter(spot), command, ...args];
    const { status, stdout, stderr } = spawnSync(first, rest, { encoding: "utf8" });
    assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** @returns how often each answer came */
  async ask(spot: Spot, address: string, port: number, more: Partial<Asking> = {}): Promise<Record<string, number>> {
    const asking: Asking = { protocol: "tcp", address, port, count: 1, ...more };
    const words = [...this.enter(spot), process.execPath, support("mesh-client.ts"), JSON.stringify([asking])];
    const { stdout } = await promisify(execFile)(words[0] ?? "", words.slice(1));
    return (JSON.parse(stdout) as Record<string, number>[])[0] ?? {};
  }

  /** @returns it, and for TCP what the server said first */
  async flow(spot: Spot, wish: FlowWish): Promise<readonly [flow: Flow, first: string]> {
    const flow = new Flow(this.enter(spot), wish);
    this.#flows.push(flow);
    return [flow, wish.protocol === "tcp" ? await flow.heard() : ""];
  }

  async assertClean(): Promise<void> {
    for (const host of this.hosts) assert.deepEqual(await host.audit(), [], `host ${host.number}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const flow of this.#flows) flow.end();
    await Promise.all(this.hosts.map((host) => host.stop()));
    this.#far.kill();
    rmSync(this.#directory, { recursive: true });
  }
}

export { addressOf, hostAddress };
