import { backdate, readCertificates } from "./certificate.ts";

/** From the issue of a certificate to its end, milliseconds since 1970. */
export interface Life {
  readonly issued: number;
  readonly expires: number;
}

const firstPause = 1000; // milliseconds; doubles
const lastPause = 300_000;
/** A timer holds 24 days at most and stands still while the host sleeps: the clock is looked at again every hour. */
const longestWait = 3_600_000;

/**
 * An external CA may go back by less than the hour before the issue: then the life begins in its middle at the latest.
 * @param certificatePem the first certificate counts
 * @throws {Error} when there is none
 */
export function lifeOf(certificatePem: string): Life {
  const [certificate] = readCertificates(certificatePem);
  const from = certificate?.validFromDate.getTime() ?? 0;
  const expires = certificate?.validToDate.getTime() ?? 0;
  return { issued: Math.min(from + backdate, (from + expires) / 2), expires };
}

/**
 * When to renew: between 50 and 80 % of the life, so that a swarm's nodes do not come all at once (moby/swarmkit
 * ca/renewer.go). The hour before its issue is not counted: with an expiry of one hour the half would be over at once.
 * @param random from 0 to 1 @returns milliseconds since 1970
 */
export const renewAt = ({ issued, expires }: Life, random: number) =>
  issued + (expires - issued) * (0.5 + 0.3 * random);

/** The pause after a failure: from 1 s, twice as long each time, at most 5 minutes, less up to the half at random. @returns milliseconds */
export const retryPause = (failures: number, random: number) =>
  Math.min(firstPause * 2 ** (failures - 1), lastPause) * (1 - random / 2);

export interface RenewalParts {
  /** Gets a new certificate and puts it to use. */
  renew(signal: AbortSignal): Promise<Life>;
  /** Told of each failure and the pause after it, in milliseconds. */
  failed(error: unknown, pause: number): void;
  /** @returns milliseconds since 1970 */
  now(): number;
  /** @returns from 0 to 1 */
  random(): number;
  /** @returns what calls it off */
  after(milliseconds: number, call: () => void): () => void;
}

export const renewalDefaults = {
  now: Date.now,
  random: Math.random,
  after(milliseconds: number, call: () => void) {
    const timer = setTimeout(call, milliseconds).unref();
    return () => clearTimeout(timer);
  },
} satisfies Partial<RenewalParts>;

/** Renews a node's certificate, for ever. */
export class Renewal {
  readonly #parts: RenewalParts;
  readonly #stopped = new AbortController();
  #due: number;
  #failures = 0;
  #busy = false;
  #again = false;
  #cancel = () => {};

  constructor(life: Life, parts: RenewalParts) {
    this.#parts = parts;
    this.#due = renewAt(life, parts.random());
    this.#wait();
  }

  /** Renews as soon as it can: the root is rotated, or the role has changed. One that is under way is followed by another. */
  now(): void {
    this.#due = this.#parts.now();
    this.#again = this.#busy;
    if (!this.#busy) this.#wait();
  }

  stop(): void {
    this.#stopped.abort();
    this.#cancel();
  }

  #wait(): void {
    this.#cancel();
    if (this.#stopped.signal.aborted) return;
    const left = Math.max(0, this.#due - this.#parts.now());
    this.#cancel = this.#parts.after(Math.min(left, longestWait), () => {
      if (this.#parts.now() < this.#due) this.#wait();
      else void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    this.#busy = true;
    try {
      this.#due = renewAt(await this.#parts.renew(this.#stopped.signal), this.#parts.random());
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      const pause = retryPause(this.#failures, this.#parts.random());
      this.#due = this.#parts.now() + pause;
      if (!this.#stopped.signal.aborted) this.#parts.failed(error, pause);
    }
    if (this.#again) this.#due = this.#parts.now();
    this.#again = false;
    this.#busy = false;
    this.#wait();
  }
}
