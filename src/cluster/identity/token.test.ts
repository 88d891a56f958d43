import assert from "node:assert/strict";
import crypto, { X509Certificate } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { describe, it, mock } from "node:test";
import { base36, isSwarmId, newSwarmId } from "./names.ts";
import { createRoot } from "./root.ts";
import { formatUnlockKey, isSealed, newUnlockKey, parseUnlockKey, seal, unseal } from "./seal.ts";
import { checkFingerprint, digestOf, formatToken, newSecret, parseToken, sameSecret } from "./token.ts";

const root = createRoot();
const digest = digestOf(root.certificate);

describe("a join token", () => {
  it("has Docker's form: 50 and 25 digits in base 36, and reads back", () => {
    for (let i = 0; i < 200; i += 1) {
      const token = { digest: crypto.randomBytes(32).toString("hex"), secret: newSecret() };
      assert.match(formatToken(token), /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
      assert.deepEqual(parseToken(formatToken(token)), token);
    }
  });

  it("keeps the zeros in front of digest and secret", () => {
    const token = { digest: "0".repeat(63) + 1, secret: base36(Buffer.from([35]), 25) };
    assert.equal(formatToken(token), `SWMTKN-1-${"0".repeat(49)}1-${"0".repeat(24)}z`);
    assert.deepEqual(parseToken(formatToken(token)), token);
  });

  const good = formatToken({ digest, secret: newSecret() });
  const bad = {
    nothing: "",
    "a word": "token",
    "another version": good.replace("-1-", "-2-"),
    "a FIPS cluster's": good.replace("-1-", "-2-1-"),
    "an unlock key": "SWMKEY-1-abc",
    "upper case": good.toUpperCase(),
    "a short digest": good.replace(/^(SWMTKN-1-)./, "$1"),
    "a long secret": `${good}0`,
    "a line behind it": `${good}\n`,
    "no secret": good.slice(0, -26),
    "a digest of more than 256 bits": `SWMTKN-1-${"z".repeat(50)}-${"0".repeat(25)}`,
    "a secret of more than 128 bits": `SWMTKN-1-${"0".repeat(50)}-${"z".repeat(25)}`,
  };
  for (const [what, text] of Object.entries(bad))
    it(`is refused: ${what}`, () => {
      assert.throws(() => parseToken(text), { class: "invalid", message: "invalid join token" });
    });

  it("is compared over digests of one length, by the function whose time does not depend on them", () => {
    const equal = mock.method(crypto, "timingSafeEqual");
    syncBuiltinESMExports();
    try {
      const secret = newSecret();
      const others = ["", "x", newSecret(), secret.slice(1), `${secret}0`, "x".repeat(10_000)];
      assert.deepEqual(
        [secret, ...others].map((other) => sameSecret(secret, other)),
        [true, ...others.map(() => false)],
      );
      assert.equal(equal.mock.callCount(), 1 + others.length);
      for (const { arguments: sides } of equal.mock.calls)
        assert.deepEqual(
          sides.map((s) => s.byteLength),
          [32, 32],
        );
    } finally {
      equal.mock.restore();
      syncBuiltinESMExports();
    }
  });
});

describe("a root that a stranger offers", () => {
  const message = `remote CA does not match fingerprint. Expected: ${digest}`;
  it("is taken by the SHA-256 of its DER, as openssl prints it", () => {
    assert.equal(digest, new X509Certificate(root.certificate).fingerprint256.replaceAll(":", "").toLowerCase());
    checkFingerprint(root.certificate, parseToken(formatToken({ digest, secret: newSecret() })).digest);
  });
  it("is refused when it is another, none, or has a second one behind it", () => {
    for (const pem of [createRoot().certificate, "", "x", root.certificate + createRoot().certificate])
      assert.throws(() => checkFingerprint(pem, digest), { class: "system", message });
  });
});

describe("an unlock key", () => {
  it("has Docker's form and reads back", () => {
    const key = newUnlockKey();
    assert.match(formatUnlockKey(key), /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
    assert.deepEqual(parseUnlockKey(formatUnlockKey(key)), key);
  });
  it("is refused in any other form", () => {
    const text = formatUnlockKey(Buffer.alloc(32));
    for (const bad of ["", text.slice(1), `${text}=`, `${text}\n`, text.replace("1", "2"), `${text.slice(0, -1)}B`])
      assert.throws(() => parseUnlockKey(bad), { class: "invalid", message: "invalid key string" });
  });
  it("seals a PEM, differently each time, and nothing of the key shows", () => {
    const key = newUnlockKey();
    const [a, b] = [seal(root.key, key), seal(root.key, key)];
    assert.notDeepEqual(a, b);
    assert.equal(unseal(a, key), root.key);
    assert.deepEqual([a, Buffer.from(root.key)].map(isSealed), [true, false]);
    for (let at = 0; at + 8 < root.key.length; at += 8) assert.ok(!a.includes(root.key.slice(at, at + 8)));
  });
  it("opens nothing with another key, nor what was changed in any byte or cut off", () => {
    const key = newUnlockKey();
    const sealed = seal("-----BEGIN", key);
    const wrong = { class: "unauthorized", message: "swarm could not be unlocked: invalid key provided" };
    for (const other of [newUnlockKey(), Buffer.alloc(0), Buffer.alloc(16)])
      assert.throws(() => unseal(sealed, other), wrong);
    for (let at = 1; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.throws(() => unseal(changed, key), wrong);
      assert.throws(() => unseal(sealed.subarray(0, at), key), wrong);
    }
    assert.throws(() => unseal(Buffer.from([2, ...sealed.subarray(1)]), key), {
      class: "invalid",
      message: /does not know/,
    });
    assert.throws(() => unseal(Buffer.alloc(0), key), { class: "invalid" });
  });
});

it("an id has 25 digits", () => {
  for (let i = 0; i < 200; i += 1) assert.ok(isSwarmId(newSwarmId()));
});
