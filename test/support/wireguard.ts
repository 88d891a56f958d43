import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { wireguardAddress, wireguardPort } from "../../src/cluster/encryption.ts";
import { calls } from "../../src/kernel/libc.ts";
import { Keyring } from "../../src/kernel/wireguard/keys.ts";
import { programDevice, programSocket } from "../../src/kernel/wireguard/program-device.ts";
import { wrapSocket } from "../../src/kernel/wrap-socket.ts";
import type { Encryption } from "../../src/model/network.ts";
import type { OwnEnd, WireguardEnd } from "../../src/model/wireguard.ts";

const cluster = "test";
/** Every byte of what containers say to one another in tests of encryption. */
export const canary = 0xc5;

/** How the node `here` takes part. @param mtu of its uplink, bytes */
export const encryptionHere = (mtu: number): Encryption => ({ address: wireguardAddress(cluster, "here"), mtu });
export const portOf = (generation: number) => wireguardPort(4789, generation);

/** This host's keys, the older first. @param keys public ones by the link of each @param generation of the first */
export const ownEndOf = (keys: Readonly<Record<string, string>>, generation: number): OwnEnd => ({
  id: cluster,
  keys: Object.entries(keys).map(([link, publicKey], at) => ({
    generation: generation + at,
    publicKey,
    link,
    udpPort: portOf(generation + at),
  })),
  sends: generation,
  answered: {},
});

/** The other machine's end of WireGuard, made by hand with wireguard-go in the namespace where `run` runs commands. */
export class FarWireguard implements AsyncDisposable {
  readonly link: string;
  readonly #process: ChildProcess;
  readonly #keys = new Keyring();
  readonly #generation: number;
  publicKey = "";

  private constructor(link: string, process: ChildProcess, generation: number) {
    [this.link, this.#process, this.#generation] = [link, process, generation];
  }

  /** @param enter words before a command that runs it there @param run does so and waits */
  static async open(
    link: string,
    enter: readonly string[],
    run: (...words: string[]) => string,
    generation = 1,
  ): Promise<FarWireguard> {
    const [file = "", ...args] = [...enter, "wireguard-go", "-f", link];
    const far = new FarWireguard(link, spawn(file, args, { stdio: "ignore" }), generation);
    try {
      for (let tries = 0; !existsSync(programSocket(link)); await sleep(20)) assert.ok(tries++ < 100, "wireguard-go");
      far.changeKey();
      run("ip", "address", "add", `${wireguardAddress(cluster, "there")}/48`, "dev", link);
      run("ip", "link", "set", link, "up", "mtu", "1420");
      return far;
    } catch (error) {
      await far[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** It has a new pair of keys from now on. */
  changeKey(): void {
    this.publicKey = this.#keys.make();
    programDevice(this.link).setUp(this.#keys.privateOf(this.publicKey), portOf(this.#generation));
  }

  /** What the manager would say of it. */
  get end(): Omit<WireguardEnd, "id"> {
    const { publicKey } = this;
    const generation = this.#generation;
    return { address: wireguardAddress(cluster, "there"), keys: [{ generation, publicKey }], sends: generation };
  }

  /** It knows one other host by that key, at that address. */
  know(publicKey: string, address: string): void {
    const device = programDevice(this.link);
    for (const { publicKey: key } of device.read().peers) device.removePeer(key);
    const endpoint = { address, udpPort: portOf(this.#generation) };
    device.putPeer({ publicKey, endpoint, address: wireguardAddress(cluster, "here") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.kill();
    await gone;
  }
}

const newNet = 0x40000000; // CLONE_NEWNET

/** As `tapHere`, in the network namespace that a file pins. */
export async function tapOf(pin: string, link: string): Promise<Tap> {
  const { stdout } = await promisify(execFile)("nsenter", [`--net=${pin}`, "ip", "-o", "link", "show", link]);
  const [own, there] = ["/proc/thread-self/ns/net", pin].map((path) => openSync(path, "r"));
  try {
    assert.equal(calls.setns(there, newNet), 0, "needs root");
    return tapHere(Number.parseInt(stdout, 10));
  } finally {
    if (calls.setns(own, newNet) !== 0) process.abort();
    for (const fd of [own, there]) closeSync(fd ?? -1);
  }
}

/** What passes on the links of a namespace: how many frames, and how many of them in which a canary can be read. */
export interface Tap {
  readonly frames: number;
  readonly canaries: number;
  /** The frames from now on, until there are so many. */
  keep(most: number): readonly Buffer[];
  close(): void;
}

/** Listens from now on, on one link of the namespace in which this thread is (AF_PACKET, ETH_P_ALL). @param index of the link */
export function tapHere(index: number): Tap {
  const fd = calls.socket(17, 3 | 0o2004000, 0) as number;
  const address = Buffer.alloc(20); // struct sockaddr_ll
  address.writeUInt16LE(17, 0);
  address.writeUInt16BE(3, 2);
  address.writeInt32LE(index, 4);
  assert.equal(calls.bind(fd, address, address.length), 0, "needs root");
  const socket = wrapSocket(fd);
  const sign = Buffer.alloc(24, canary);
  const seen = { frames: 0, canaries: 0 };
  let [kept, room]: [Buffer[], number] = [[], 0];
  socket.on("error", () => {}); // the link is gone
  socket.on("data", (frame: Buffer) => {
    seen.frames += 1;
    if (frame.includes(sign)) seen.canaries += 1;
    if (kept.length < room) kept.push(Buffer.from(frame));
  });
  return {
    get frames() {
      return seen.frames;
    },
    get canaries() {
      return seen.canaries;
    },
    keep(most) {
      [kept, room] = [[], most];
      return kept;
    },
    close: () => void socket.destroy(),
  };
}
