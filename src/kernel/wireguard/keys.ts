import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { KernelError } from "../kernel.ts";

/** What stands before the 32 bytes of an X25519 private key in PKCS #8 (RFC 8410 section 7). */
const pkcs8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const length = 32; // bytes of either key

const rawPublic = (key: KeyObject): string =>
  createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-length).toString("base64");

/** Base64 of the public key that belongs to the 32 bytes. */
export const publicKeyOf = (privateKey: Buffer): string =>
  rawPublic(createPrivateKey({ key: Buffer.concat([pkcs8, privateKey]), format: "der", type: "pkcs8" }));

/** Pairs of keys by their public one. Private keys are here, and in the devices that have them: on no disk, and in no message. */
export class Keyring {
  readonly #private = new Map<string, Buffer>();

  /** @returns the public key of a new pair */
  make(): string {
    const { privateKey } = generateKeyPairSync("x25519");
    return this.keep(privateKey.export({ format: "der", type: "pkcs8" }).subarray(-length));
  }

  /** @returns the public key */
  keep(privateKey: Buffer): string {
    const publicKey = publicKeyOf(privateKey);
    this.#private.set(publicKey, Buffer.from(privateKey));
    return publicKey;
  }

  forget(publicKey: string): void {
    this.#private.get(publicKey)?.fill(0);
    this.#private.delete(publicKey);
  }

  /** @throws {KernelError} ENOKEY for a pair that an earlier process made, and that no device has any more */
  privateOf(publicKey: string): Buffer {
    const found = this.#private.get(publicKey);
    if (found === undefined)
      throw new KernelError(
        "ENOKEY",
        "WireGuard's key of this host is gone, as after a restart of the machine: a manager has to be told of the new one first",
      );
    return found;
  }
}
