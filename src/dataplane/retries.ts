import type { Owner } from "../model/plan.ts";

const firstPause = 100; // milliseconds until an owner that the kernel refused is tried again; doubles
const lastPause = 30_000;

interface Failure {
  readonly error: Error;
  readonly pause: number;
  readonly timer: NodeJS.Timeout;
}

/** Owners that did not get what they want, each with the next attempt. */
export class Retries {
  readonly #failures = new Map<Owner, Failure>();
  readonly #retry: (owner: Owner) => void;

  constructor(retry: (owner: Owner) => void) {
    this.#retry = retry;
  }

  errorOf(owner: Owner): Error | undefined {
    return this.#failures.get(owner)?.error;
  }

  owners(): Owner[] {
    return [...this.#failures.keys()];
  }

  /** @returns milliseconds until the owner is tried again: 100 at first, then twice as long each time, at most 30,000 */
  fail(owner: Owner, error: Error): number {
    const before = this.#failures.get(owner);
    clearTimeout(before?.timer);
    const pause = before === undefined ? firstPause : Math.min(before.pause * 2, lastPause);
    this.#failures.set(owner, { error, pause, timer: setTimeout(() => this.#retry(owner), pause) });
    return pause;
  }

  clear(owner: Owner): void {
    clearTimeout(this.#failures.get(owner)?.timer);
    this.#failures.delete(owner);
  }

  stop(): void {
    for (const { timer } of this.#failures.values()) clearTimeout(timer);
  }
}
