import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { it } from "node:test";
import { Keyring, publicKeyOf } from "./keys.ts";

it("derives public keys as X25519 has them: the private one times the point 9 (RFC 7748 section 6.1)", () => {
  const d = Buffer.from(Array.from({ length: 32 }, (_, i) => i + 1));
  const nine = Buffer.alloc(32);
  nine[0] = 9;
  // RFC 8410: a private key as PKCS #8 has it, a public one as SPKI.
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), d]);
  const spki = Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), nine]);
  const product = diffieHellman({
    privateKey: createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }),
    publicKey: createPublicKey({ key: spki, format: "der", type: "spki" }),
  });
  assert.equal(publicKeyOf(d), product.toString("base64"));
});

it("makes pairs that nobody else has, and forgets those that it is told to forget", () => {
  const ring = new Keyring();
  const [one, two] = [ring.make(), ring.make()];
  assert.notEqual(one, two);
  for (const key of [one, two]) assert.equal(publicKeyOf(ring.privateOf(key)), key);
  assert.throws(() => new Keyring().privateOf(one), { name: "KernelError", code: "ENOKEY" });
  assert.equal(new Keyring().keep(ring.privateOf(one)), one);
  ring.forget(two);
  assert.throws(() => ring.privateOf(two), { code: "ENOKEY" });
});
