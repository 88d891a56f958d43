import { constants, openSync, readSync } from "node:fs";
import { Socket } from "node:net";

const block = 64 << 10; // bytes: what a FIFO holds

/** Reads a FIFO. Both ends are held, so that it does not end before it is told to, whoever opens and closes it. */
export class FifoReader {
  readonly #fd: number;
  readonly #socket: Socket;
  readonly #onData: (data: Buffer) => void;

  constructor(path: string, onData: (data: Buffer) => void) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    this.#onData = onData;
    this.#socket = new Socket({ fd: this.#fd, readable: true, writable: false });
    this.#socket.on("data", onData);
    this.#socket.on("error", () => this.#socket.destroy());
  }

  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }

  /** Takes what is still in it, then lets go. Nobody writes any more. */
  drain(): void {
    if (this.#socket.destroyed) return;
    this.#socket.pause();
    for (let left = this.#socket.read() as Buffer | null; left !== null; left = this.#socket.read() as Buffer | null)
      this.#onData(left);
    const bytes = Buffer.alloc(block);
    for (;;) {
      const size = this.#readNow(bytes);
      if (size === 0) break;
      this.#onData(Buffer.from(bytes.subarray(0, size)));
    }
    this.#socket.destroy();
  }

  #readNow(bytes: Buffer): number {
    try {
      return readSync(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0; // empty, and both ends are open
      throw error;
    }
  }
}
