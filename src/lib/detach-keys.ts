import { invalid } from "./errors.ts";

/** `ctrl-p,ctrl-q`. */
export const defaultDetachKeys = Uint8Array.of(16, 17);

/**
 * Bytes of a key sequence: characters and `ctrl-<letter or @[\]^_>`, with commas between. "" means the default.
 * @throws {EngineError} invalid (Docker's documentation, `docker attach --detach-keys`)
 */
export function parseDetachKeys(text: string): Uint8Array {
  if (text === "") return defaultDetachKeys;
  return Uint8Array.from(text.split(","), (key) => byteOf(key, text));
}

function byteOf(key: string, text: string): number {
  const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
  if (key.length === 1 && key.charCodeAt(0) < 128) return key.charCodeAt(0);
  throw invalid(`Invalid detach keys (${text}) provided`);
}

/** Watches what a client types for a key sequence, over any cut into chunks. */
export class DetachKeys {
  readonly #keys: Uint8Array;
  #held: number[] = [];

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** @returns what is to be passed on: keys of an unfinished sequence are held back until it is clear that it is none */
  read(data: Uint8Array): { readonly pass: Uint8Array; readonly detached: boolean } {
    if (this.#keys.length === 0) return { pass: data, detached: false };
    const pass: number[] = [];
    for (const byte of data) {
      this.#held.push(byte);
      while (this.#held.length > 0 && !this.#begins()) pass.push(this.#held.shift() ?? 0);
      if (this.#held.length === this.#keys.length) return { pass: Uint8Array.from(pass), detached: true };
    }
    return { pass: Uint8Array.from(pass), detached: false };
  }

  #begins(): boolean {
    return this.#held.every((byte, index) => byte === this.#keys[index]);
  }
}
