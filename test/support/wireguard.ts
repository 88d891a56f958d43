import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { wireguardAddress, wireguardPort } from "../../src/cluster/encryption.ts";
import { Keyring } from "../../src/kernel/wireguard/keys.ts";
import { programDevice, programSocket } from "../../src/kernel/wireguard/program-device.ts";
import type { Encryption } from "../../src/model/network.ts";
import type { OwnEnd, WireguardEnd } from "../../src/model/wireguard.ts";
import type { Tap } from "./tap.ts";
import { until } from "./until.ts";

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
      await until(() => existsSync(programSocket(link)), "wireguard-go");
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

const sign = Buffer.alloc(24, canary);

/** What has passed on a link since it was tapped, whenever one asks. */
export class CanaryTap {
  readonly #tap: Tap;
  #frames = 0;
  #canaries = 0;
  #kept: Buffer[] = [];
  #room = 0;

  constructor(open: (hear: (frame: Buffer) => void) => Tap) {
    this.#tap = open((frame) => {
      this.#frames += 1;
      if (frame.includes(sign)) this.#canaries += 1;
      if (this.#kept.length < this.#room) this.#kept.push(Buffer.from(frame));
    });
  }

  get frames(): number {
    this.#tap.drain();
    return this.#frames;
  }
  /** Frames in which a canary can be read. */
  get canaries(): number {
    this.#tap.drain();
    return this.#canaries;
  }

  /** @param most frames that are kept from now on @returns those that have been, when it is called */
  keep(most: number): () => readonly Buffer[] {
    this.#tap.drain();
    [this.#kept, this.#room] = [[], most];
    return () => {
      this.#tap.drain();
      return this.#kept;
    };
  }

  close(): void {
    this.#tap.close();
  }
}
