import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { openBytes, sealBytes } from "./sealed-bytes.ts";

it("sealed bytes open with their key, at their place, unchanged; and never look the same twice", () => {
  const key = randomBytes(32);
  const plain = Buffer.from("secret");
  const sealed = sealBytes(plain, key, "a/b");
  assert.deepEqual(openBytes(sealed, key, "a/b"), plain);
  assert.notDeepEqual(sealBytes(plain, key, "a/b"), sealed);
  assert.equal(openBytes(sealed, key, "a/c"), undefined);
  assert.equal(openBytes(sealed, randomBytes(32), "a/b"), undefined);
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(openBytes(changed, key, "a/b"), undefined);
    assert.equal(openBytes(sealed.subarray(0, at), key, "a/b"), undefined);
  }
});
