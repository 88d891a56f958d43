import { randomBytes } from "node:crypto";
import { EngineError, invalid } from "../../lib/errors.ts";
import { openBytes, sealBytes, sealVersion } from "../../lib/sealed-bytes.ts";

/** A PEM under a lock. */
export type Sealed = Buffer;

const form = /^SWMKEY-1-([A-Za-z0-9+/]{43})$/;
const wrongKey = () => new EngineError("unauthorized", "swarm could not be unlocked: invalid key provided");

/** @returns 32 bytes */
export const newUnlockKey = () => randomBytes(32);

/** `SWMKEY-1-` and 43 characters: base64 without padding (moby/swarmkit manager/encryption, HumanReadableKey). */
export const formatUnlockKey = (key: Buffer) => `SWMKEY-1-${key.toString("base64").replace(/=+$/, "")}`;

/** @throws {EngineError} invalid, with swarmkit's text, which does not repeat the key */
export function parseUnlockKey(text: string): Buffer {
  const key = Buffer.from(form.exec(text)?.[1] ?? "", "base64");
  // The last character has two bits to spare: only one way to write a key is right.
  if (key.length !== 32 || formatUnlockKey(key) !== text) throw invalid("invalid key string");
  return key;
}

/** Puts a PEM under an unlock key of 32 bytes. */
export const seal = (pem: string, key: Buffer): Sealed => sealBytes(Buffer.from(pem), key);

/** True for the bytes of a sealed file, false for those of a PEM, which begins with "-". */
export const isSealed = (bytes: Buffer) => bytes.length > 0 && bytes[0] !== 0x2d;

/**
 * @throws {EngineError} unauthorized, with Docker's text, for another key or a damaged file: nobody can tell these apart;
 * invalid when a newer version sealed it
 */
export function unseal(sealed: Sealed, key: Buffer): string {
  if (sealed[0] !== sealVersion) throw invalid("the key file has a form that this version does not know");
  const opened = openBytes(sealed, key);
  if (opened === undefined) throw wrongKey();
  return opened.toString("utf8");
}

/** The text under the key, if there is one. */
export const sealed = (text: string, key: Buffer | undefined): string | Sealed =>
  key === undefined ? text : seal(text, key);

/** @throws {EngineError} unauthorized for another key, or none */
export const unsealed = (text: string | Sealed, key: Buffer | undefined): string =>
  typeof text === "string" ? text : unseal(text, key ?? Buffer.alloc(0));
