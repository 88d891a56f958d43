import assert from "node:assert/strict";
import { test } from "node:test";
import { signalNumber } from "./signals.ts";

test("reads names with and without SIG, numbers and real-time signals", () => {
  const read = ["", "9", "KILL", "sigterm", "SIGHUP", "RTMIN", "RTMIN+3", "SIGRTMAX-1"].map(signalNumber);
  assert.deepEqual(read, [9, 9, 9, 15, 1, 34, 37, 63]);
});

for (const text of ["FOO", "0", "65", "-1", "1e1", "RTMAX+1", "toString"])
  test(`refuses ${text}`, () => {
    assert.throws(() => signalNumber(text), { class: "invalid", message: `Invalid signal: ${text}` });
  });
