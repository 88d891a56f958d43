import type { OutputChunk } from "./runtime.ts";

const enough = 1 << 20; // bytes waiting before the sender is asked to pause

/** Passes chunks from a sender that pushes to a reader that pulls. */
export class OutputQueue implements AsyncIterable<OutputChunk> {
  #chunks: OutputChunk[] = [];
  #size = 0;
  #ended = false;
  #wake = () => {};
  readonly #onRoom: () => void;

  /** @param onRoom called when there is room again after `push` said false */
  constructor(onRoom: () => void = () => {}) {
    this.#onRoom = onRoom;
  }

  /** @returns false when the sender should pause */
  push(chunk: OutputChunk): boolean {
    if (this.#ended) return true;
    this.#chunks.push(chunk);
    this.#size += chunk.data.length;
    this.#wake();
    return this.#size < enough;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<OutputChunk> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        const full = this.#size >= enough;
        this.#size -= chunk.data.length;
        if (full && this.#size < enough) this.#onRoom();
        yield chunk;
      } else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
