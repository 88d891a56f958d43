interface Call {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

/** Time that goes from one call to the next. */
export class Clock {
  #now = 0;
  #order = 0;
  /** The next call last. */
  readonly #calls: Call[] = [];

  get now(): number {
    return this.#now;
  }

  /** @param milliseconds 0 or more; calls of one moment are made in the order in which they came */
  after(milliseconds: number, call: () => void): void {
    const one = { at: this.#now + milliseconds, order: this.#order++, call };
    let at = this.#calls.length;
    while (at > 0 && (this.#calls[at - 1] as Call).at <= one.at) at -= 1;
    this.#calls.splice(at, 0, one);
  }

  /** Makes the next call, if there is one until then. */
  step(until: number): boolean {
    const next = this.#calls.at(-1);
    if (next === undefined || next.at > until) return false;
    this.#calls.pop();
    this.#now = next.at;
    next.call();
    return true;
  }
}
