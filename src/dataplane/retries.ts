import type { Owner } from "../model/plan.ts";

const firstPause = 100; // milliseconds until an owner that the kernel refused is tried again; doubles
const lastPause = 30_000;

interface Failure {
  readonly error: Error;
  readonly since: number; // milliseconds of the monotonic clock, when it was refused first
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

  /** @returns those that have been refused for less than `age` milliseconds */
  youngerThan(age: number): Owner[] {
    const eldest = performance.now() - age;
    return this.owners().filter((owner) => (this.#failures.get(owner)?.since ?? 0) > eldest);
  }

  /** @returns milliseconds until the owner is tried again: 100 at first, then twice as long each time, at most 30,000 */
  fail(owner: Owner, error: Error): number {
    const before = this.#failures.get(owner);
    clearTimeout(before?.timer);
    const pause = before === undefined ? firstPause : Math.min(before.pause * 2, lastPause);
    const since = before?.since ?? performance.now();
    this.#failures.set(owner, { error, since, pause, timer: setTimeout(() => this.#retry(owner), pause) });
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
