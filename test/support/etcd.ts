import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createEtcdClient, type EtcdAddress, type EtcdClient } from "../../src/store/etcd/client.ts";
import { etcdLimits } from "../../src/store/etcd/etcd-store.ts";
import { type Certificate, createTestAuthority, type TestAuthority } from "./tls.ts";

const serverName = "tombolo-manager";

/** An etcd of one or more members with TLS on both of their ports, on loopback, in a directory of its own. */
export class TestEtcd implements AsyncDisposable {
  readonly members: TestMember[] = [];
  readonly #directory = mkdtempSync(join(tmpdir(), "tombolo-etcd-"));
  readonly #authority: TestAuthority;
  readonly #certificate: Certificate;
  readonly #flags: readonly string[];
  readonly #clients: EtcdClient[] = [];

  private constructor(authority: TestAuthority, certificate: Certificate, flags: readonly string[]) {
    this.#authority = authority;
    this.#certificate = certificate;
    this.#flags = flags;
    for (const [name, pem] of Object.entries({ ca: authority.ca, ...certificate }))
      writeFileSync(join(this.#directory, `${name}.pem`), pem);
  }

  /** @param flags besides those that are needed */
  static async start(count: number, flags: readonly string[] = etcdLimits): Promise<TestEtcd> {
    const authority = await createTestAuthority("tombolo test");
    const certificate = await authority.issue({ dns: [serverName, "localhost"], ip: ["127.0.0.1"] });
    const etcd = new TestEtcd(authority, certificate, flags);
    try {
      for (let n = 1; n <= count; n++) await etcd.addMember();
      for (const member of etcd.members) member.start(etcd.members, "new");
      await etcd.ready();
      return etcd;
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A member that is not started. */
  async addMember(): Promise<TestMember> {
    const [client = 0, peer = 0] = await freePorts(2);
    const member = new TestMember(`m${this.members.length + 1}`, { client, peer }, this.#directory, this.#flags);
    this.members.push(member);
    return member;
  }

  /** Of all members, or some. */
  address(members: readonly TestMember[] = this.members): EtcdAddress {
    const endpoints = members.map(({ ports }) => `127.0.0.1:${ports.client}`);
    return { endpoints, tls: { ca: this.#authority.ca, ...this.#certificate, serverName } };
  }
  /** Ends with the test's etcd. */
  client(members?: readonly TestMember[]): EtcdClient {
    const client = createEtcdClient(this.address(members));
    this.#clients.push(client);
    return client;
  }

  /** Waits until every member that runs answers. */
  async ready(): Promise<void> {
    for (const member of this.members.filter((m) => m.running)) {
      const client = this.client([member]);
      const end = Date.now() + 30_000;
      for (;;) {
        const answer = await client.kv.range({ key: Buffer.from("x") }, { deadline: 2000 }).catch((e: Error) => e);
        if (!(answer instanceof Error)) break;
        if (Date.now() > end || !member.running) throw new Error(`${answer.message}\n${member.log()}`);
        await sleep(50);
      }
    }
  }

  async leader(): Promise<TestMember> {
    for (;;) {
      for (const member of this.members.filter((m) => m.running)) {
        const { maintenance } = this.client([member]);
        const status = await maintenance.status({}, { deadline: 1000 }).catch(() => undefined);
        if (status !== undefined && status.leader !== 0n && status.leader === status.header?.memberId) return member;
      }
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.members.map((member) => member.kill()));
    rmSync(this.#directory, { recursive: true });
  }
}

export class TestMember {
  readonly name: string;
  readonly ports: { readonly client: number; readonly peer: number };
  readonly #directory: string;
  readonly #flags: readonly string[];
  #process: ChildProcess | undefined;
  #cluster: readonly string[] = [];

  constructor(name: string, ports: TestMember["ports"], directory: string, flags: readonly string[]) {
    this.name = name;
    this.ports = ports;
    this.#directory = directory;
    this.#flags = flags;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }
  get peerUrl(): string {
    return `https://127.0.0.1:${this.ports.peer}`;
  }
  log(): string {
    return readFileSync(join(this.#directory, `${this.name}.log`), "utf8").slice(-4000);
  }

  /** Without arguments: again, as it was. */
  start(cluster?: readonly TestMember[], state?: "new" | "existing"): void {
    if (cluster !== undefined)
      this.#cluster = [
        `--initial-cluster=${cluster.map((m) => `${m.name}=${m.peerUrl}`).join(",")}`,
        `--initial-cluster-state=${state}`,
      ];
    const at = (name: string) => join(this.#directory, name);
    const client = `https://127.0.0.1:${this.ports.client}`;
    const tls = ["", "peer-"].flatMap((side) => [
      `--${side}cert-file=${at("cert.pem")}`,
      `--${side}key-file=${at("key.pem")}`,
      `--${side}trusted-ca-file=${at("ca.pem")}`,
      `--${side}client-cert-auth`,
    ]);
    this.#process = spawn(
      "etcd",
      [
        `--name=${this.name}`,
        `--data-dir=${at(this.name)}`,
        `--listen-client-urls=${client}`,
        `--advertise-client-urls=${client}`,
        `--listen-peer-urls=${this.peerUrl}`,
        `--initial-advertise-peer-urls=${this.peerUrl}`,
        "--logger=zap",
        `--log-outputs=${at(`${this.name}.log`)}`,
        ...this.#cluster,
        ...tls,
        ...this.#flags,
      ],
      { stdio: "ignore", env: { PATH: process.env.PATH } },
    );
    this.#process.once("exit", () => {
      this.#process = undefined;
    });
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }
  resume(): void {
    this.#process?.kill("SIGCONT");
  }
  /** Its data, when it does not run: with `start(members, "new")` it begins anew. */
  wipe(): void {
    rmSync(join(this.#directory, this.name), { recursive: true });
  }
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}

/** Ports that nobody listened at a moment ago; held together, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
