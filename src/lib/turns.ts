const atOnce = 50;

/**
 * Makes many calls that came together, some in each turn of the event loop. Meanwhile others have their turn too, and what
 * the first calls needed in memory is free again before the last.
 */
export class Turns {
  readonly #waiting = new Set<() => void>();

  /** One that waits already is called once. */
  add(call: () => void): void {
    if (this.#waiting.size === 0) setImmediate(() => this.#next());
    this.#waiting.add(call);
  }

  #next(): void {
    for (const call of this.#waiting.values().take(atOnce).toArray()) {
      this.#waiting.delete(call);
      call();
    }
    if (this.#waiting.size > 0) setImmediate(() => this.#next());
  }
}
