import assert from "node:assert/strict";
import { check } from "../../src/kernel/libc.ts";
import type { NamespaceName } from "../../src/model/plan.ts";
import { lastFrame, lastMark, mark, type Party } from "./forged-frames.ts";
import { calls } from "./libc.ts";
import type { Place, RealHost } from "./real-host.ts";
import { idOf } from "./rows.ts";
import type { Tap } from "./tap.ts";
import { until } from "./until.ts";

/** What waits in a processor's queue of frames is lost where it is too long: as many at a time. */
const atATime = 200;

/**
 * This thread is on one processor from now on, and the programs that it starts with it. Frames between network devices of one
 * machine wait in the queue of the processor that has sent them (net/core/dev.c, netif_rx): so each overtakes no other.
 */
export function stayOnOneProcessor(): void {
  const mask = Buffer.alloc(128);
  const cpu = check("sched_getcpu", calls.schedGetcpu());
  mask.writeUInt8(1 << (cpu & 7), cpu >> 3);
  check("sched_setaffinity", calls.schedSetaffinity(0, mask.length, mask));
}

/** Hears the frames of ours that come to a link. */
export class Ear {
  readonly #tap: Tap;
  #heard = 0;
  #lasts = 0;

  constructor(host: RealHost, place: Place, link = "eth0") {
    const hear = (frame: Buffer) => {
      if (frame.includes(mark)) this.#heard += 1;
      if (frame.includes(lastMark)) this.#lasts += 1;
    };
    this.#tap = host.tap(place, link, hear, true); // errors quote what they are about
  }

  /** How many there were since the last look. */
  heard(): number {
    this.#tap.drain();
    const count = this.#heard;
    this.#heard = 0;
    return count;
  }

  /** How many `lastFrame`s there were, ever. */
  get lasts(): number {
    this.#tap.drain();
    return this.#lasts;
  }
}

/** Sends raw frames from a container, and knows when the kernel is through with them. */
export class Wire implements Disposable {
  readonly #socket: { send(frame: Buffer): void; close(): void };
  readonly #last: Buffer;
  readonly #ear: Ear;

  /** @param from a container @param ear of a container to which `from` may send */
  constructor(host: RealHost, from: readonly [member: number, Party], to: Party, ear: Ear) {
    const namespace: NamespaceName = `sandbox:${idOf("5", from[0])}`;
    this.#socket = host.kernel.frames("eth0", "dhcp", () => {}, namespace);
    this.#last = lastFrame(from[1], to);
    this.#ear = ear;
  }

  /** Resolves when each of them is where it went, or nowhere. */
  async send(frame: Buffer, times = 1): Promise<void> {
    for (let left = times; left > 0; left -= atATime) {
      for (let i = 0; i < Math.min(left, atATime); i += 1) this.#socket.send(frame);
      await this.through();
    }
  }

  /** Resolves when all that was sent by this thread is where it went, or nowhere. */
  async through(): Promise<void> {
    const before = this.#ear.lasts;
    this.#socket.send(this.#last);
    await until(() => this.#ear.lasts > before, "the last frame comes");
    assert.equal(this.#ear.lasts, before + 1);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
