import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Bytes under a key: one byte version (1), 12 bytes nonce, AES-256-GCM text, 16 bytes tag. The version is authenticated. */
export const sealVersion = 1;
const nonceLength = 12; // NIST SP 800-38D 8.2.2: random nonces of 96 bits
const tagLength = 16;

/**
 * @param key 32 bytes @param context says what the bytes are: sealed for one place, they do not open at another
 */
export function sealBytes(plain: Uint8Array, key: Buffer, context = ""): Buffer {
  const head = Buffer.concat([Buffer.of(sealVersion), randomBytes(nonceLength)]);
  const cipher = createCipheriv("aes-256-gcm", key, head.subarray(1), { authTagLength: tagLength });
  cipher.setAAD(Buffer.concat([head.subarray(0, 1), Buffer.from(context)]));
  return Buffer.concat([head, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** @returns undefined for another key, another context, and damaged bytes: nobody can tell these apart */
export function openBytes(sealed: Uint8Array, key: Buffer, context = ""): Buffer | undefined {
  if (sealed[0] !== sealVersion || sealed.length < 1 + nonceLength + tagLength || key.length !== 32) return undefined;
  try {
    const nonce = sealed.subarray(1, 1 + nonceLength);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength });
    decipher.setAAD(Buffer.concat([sealed.subarray(0, 1), Buffer.from(context)]));
    decipher.setAuthTag(sealed.subarray(-tagLength));
    const plain = decipher.update(sealed.subarray(1 + nonceLength, -tagLength));
    decipher.final(); // gives nothing more in this mode: it compares the tag, and throws
    return plain;
  } catch {
    return undefined;
  }
}
