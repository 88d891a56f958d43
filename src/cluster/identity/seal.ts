import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { EngineError, invalid } from "../../lib/errors.ts";

/** A PEM under a lock: one byte version (1), 12 bytes nonce, AES-256-GCM text, 16 bytes tag; the version is authenticated. */
export type Sealed = Buffer;

const version = 1; // a PEM begins with "-", 45
const nonceLength = 12; // NIST SP 800-38D 8.2.2: random nonces of 96 bits
const tagLength = 16;
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
export function seal(pem: string, key: Buffer): Sealed {
  const head = Buffer.concat([Buffer.of(version), randomBytes(nonceLength)]);
  const cipher = createCipheriv("aes-256-gcm", key, head.subarray(1), { authTagLength: tagLength });
  cipher.setAAD(head.subarray(0, 1));
  return Buffer.concat([head, cipher.update(pem, "utf8"), cipher.final(), cipher.getAuthTag()]);
}

/** True for the bytes of a sealed file, false for those of a PEM. */
export const isSealed = (bytes: Buffer) => bytes.length > 0 && bytes[0] !== 0x2d;

/**
 * @throws {EngineError} unauthorized, with Docker's text, for another key or a damaged file: nobody can tell these apart;
 * invalid when a newer version sealed it
 */
export function unseal(sealed: Sealed, key: Buffer): string {
  if (sealed[0] !== version) throw invalid("the key file has a form that this version does not know");
  if (sealed.length < 1 + nonceLength + tagLength || key.length !== 32) throw wrongKey();
  try {
    const nonce = sealed.subarray(1, 1 + nonceLength);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength });
    decipher.setAAD(sealed.subarray(0, 1));
    decipher.setAuthTag(sealed.subarray(-tagLength));
    const text = decipher.update(sealed.subarray(1 + nonceLength, -tagLength));
    return Buffer.concat([text, decipher.final()]).toString("utf8");
  } catch {
    throw wrongKey();
  }
}
