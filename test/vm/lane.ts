import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { addressOf, guestPath, kernelDirectory, nameOf, segmentNumber } from "./guest-files.ts";
import { firstStream, type SegmentOptions } from "./segment.ts";
import { Station } from "./station.ts";

export interface LaneOptions {
  /** 1 to 9. */
  readonly hosts: number;
  /** MiB for each host: 256 for the kernel and its tools, 768 with containerd in it, which is the default. */
  readonly memory?: number;
}
const bootPatience = 180_000; // milliseconds: 4 s on a quiet machine

/**
 * Hosts with Debian's kernel on one Ethernet segment, each an emulated machine. They see this machine's files, and keep what
 * they write in memory. Everything ends with this process, however it ends.
 */
export class Lane {
  readonly hosts: readonly Station[];
  /** The segment itself, on this machine's kernel: bridge `lan0`, and the far end of each host's cable, `h1`, `h2`, … */
  readonly segment: Station;
  readonly #process: ChildProcess;

  private constructor({ hosts, memory }: SegmentOptions) {
    const node = [process.execPath, "--disable-warning=ExperimentalWarning"];
    const program = [...node, join(import.meta.dirname, "segment.ts"), JSON.stringify({ hosts, memory })];
    const namespaces = ["--fork", "--pid", "--mount", "--mount-proc", "--net", "--kill-child"];
    const streams = Array.from({ length: hosts + 1 }, () => "pipe" as const);
    // A session of its own: it ends by its stream, not by a signal of the terminal.
    this.#process = spawn("unshare", [...namespaces, "--", ...program], {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", ...streams],
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    const stream = (number: number) => this.#process.stdio[firstStream + number] as unknown as Duplex;
    this.segment = new Station("segment", addressOf(segmentNumber), stream(0), {});
    this.hosts = Array.from({ length: hosts }, (_, i) => {
      const number = i + 1;
      return new Station(nameOf(number), addressOf(number), stream(number), { PATH: guestPath });
    });
  }

  /** Boots the hosts. @throws when one does not come up, with the end of its console */
  static async start({ hosts, memory = 768 }: LaneOptions): Promise<Lane> {
    if (arch() !== "x64") throw new Error("virtual machines of the tests need x86-64");
    if (process.getuid?.() !== 0) throw new Error("virtual machines of the tests need root");
    if (!existsSync(join(kernelDirectory, "vmlinux"))) throw new Error("no kernel: run `tools/setup.sh vm`");
    const lane = new Lane({ hosts, memory });
    try {
      await lane.#boot();
    } catch (error) {
      await lane.stop();
      throw error;
    }
    return lane;
  }

  async #boot(): Promise<void> {
    await this.segment.ready;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`not up after ${bootPatience} ms`)), bootPatience);
    try {
      await Promise.race([late.promise, Promise.all(this.hosts.map((host) => host.ready))]);
    } catch (error) {
      const consoles = await this.segment.sh("tail -n 20 *.log *.console").catch(() => "");
      throw new Error(`${(error as Error).message}\n${consoles}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Switches the hosts off and removes the segment. Nothing is left on the machine. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.stdio.slice(firstStream).forEach((stream) => stream?.destroy());
    await gone;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
