/** Passes items from senders, who wait while there is no room, to one reader, who takes all that is there at once. */
export class BoundedQueue<T> {
  readonly #most: number;
  #items: T[] = [];
  #size = 0;
  #hasEnded = false;
  #came = Promise.withResolvers<void>();
  #room = Promise.withResolvers<void>();

  /** @param most the sum of sizes from which on senders wait */
  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves when more may be sent. After the end nothing is kept. */
  async push(item: T, size: number): Promise<void> {
    if (this.#hasEnded) return;
    this.#items.push(item);
    this.#size += size;
    this.#came.resolve();
    if (this.#size >= this.#most) await this.#room.promise;
  }

  /** Nothing more comes; what is there can be taken still. */
  end(): void {
    this.#hasEnded = true;
    this.#came.resolve();
    this.#room.resolve();
  }

  /** What has come, until the end. Who stops reading ends it. */
  async *batches(): AsyncIterable<readonly T[]> {
    try {
      for (;;) {
        if (this.#items.length > 0) yield this.#take();
        else if (this.#hasEnded) return;
        else await this.#came.promise;
      }
    } finally {
      this.end();
      this.#items = [];
    }
  }

  #take(): readonly T[] {
    const items = this.#items;
    this.#items = [];
    this.#size = 0;
    if (this.#hasEnded) return items;
    this.#came = Promise.withResolvers();
    this.#room.resolve();
    this.#room = Promise.withResolvers();
    return items;
  }
}
