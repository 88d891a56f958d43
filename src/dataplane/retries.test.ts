import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Retries } from "./retries.ts";

it("knows for how long an owner has been refused, however often it was tried since", async () => {
  const retries = new Retries(() => {});
  retries.fail("sandbox:one", new Error("first"));
  await sleep(20);
  retries.fail("sandbox:one", new Error("again"));
  retries.fail("sandbox:two", new Error("first"));
  assert.deepEqual(retries.youngerThan(10_000), ["sandbox:one", "sandbox:two"]);
  assert.ok(!retries.youngerThan(15).includes("sandbox:one"));
  retries.clear("sandbox:one");
  retries.fail("sandbox:one", new Error("anew"));
  assert.ok(retries.youngerThan(10_000).includes("sandbox:one"));
  retries.stop();
});
