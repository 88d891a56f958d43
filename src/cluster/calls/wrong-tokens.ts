import { Code, ConnectError } from "@connectrpc/connect";
import { isIP } from "node:net";
import { addressBytes } from "../../lib/address-bytes.ts";

/** So many wrong tokens at once, then one in each interval, in milliseconds: typing errors pass, a flood does not. */
const limit = { burst: 5, interval: 10_000, addresses: 10_000 } as const;

/** Counts the wrong tokens of each address. A secret has 128 bits: this spares the manager, it does not guard the secret. */
export class WrongTokens {
  readonly #now: () => number;
  /** By address: when its count is at zero again, milliseconds since 1970. */
  readonly #clear = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @throws {ConnectError} ResourceExhausted while an address has had too many, and says for how many seconds */
  check(address: string): void {
    const left = (this.#clear.get(keyOf(address)) ?? 0) - this.#now() - (limit.burst - 1) * limit.interval;
    if (left <= 0) return;
    const seconds = Math.ceil(left / 1000);
    throw new ConnectError(`too many wrong join tokens from ${address}: wait ${seconds} s`, Code.ResourceExhausted);
  }

  add(address: string): void {
    const key = keyOf(address);
    const clear = Math.max(this.#clear.get(key) ?? 0, this.#now()) + limit.interval;
    // Put at the end: the one that was quiet for longest is forgotten first.
    this.#clear.delete(key);
    this.#clear.set(key, clear);
    const [oldest] = this.#clear.keys();
    if (this.#clear.size > limit.addresses && oldest !== undefined) this.#clear.delete(oldest);
  }
}

/** A host has a whole /64 of IPv6 addresses to itself. */
const keyOf = (address: string) =>
  isIP(address) === 6 ? addressBytes(address.split("%")[0] ?? "").toString("hex", 0, 8) : address;
