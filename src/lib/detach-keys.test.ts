import assert from "node:assert/strict";
import { test } from "node:test";
import { DetachKeys, parseDetachKeys } from "./detach-keys.ts";

test("parses characters and control keys; nothing means ctrl-p,ctrl-q", () => {
  assert.deepEqual([...parseDetachKeys("")], [16, 17]);
  assert.deepEqual([...parseDetachKeys("ctrl-p,ctrl-q")], [16, 17]);
  assert.deepEqual(
    [...parseDetachKeys("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,CTRL-A")],
    [97, 0, 27, 28, 29, 30, 31, 1],
  );
});

for (const text of ["ctrl-", "ctrl-1", "ab", "a,,b", "é", "ctrl-p,"])
  test(`refuses ${text}`, () => {
    assert.throws(() => parseDetachKeys(text), { class: "invalid", message: `Invalid detach keys (${text}) provided` });
  });

/** Feeds chunks; @returns what came through, and whether the sequence was seen */
function typed(keys: string, ...chunks: string[]) {
  const reader = new DetachKeys(parseDetachKeys(keys));
  let passed = "";
  for (const chunk of chunks) {
    const { pass, detached } = reader.read(Buffer.from(chunk));
    passed += Buffer.from(pass).toString();
    if (detached) return { passed, detached };
  }
  return { passed, detached: false };
}

test("sees the sequence over any cut into chunks, and keeps it from the process", () => {
  assert.deepEqual(typed("", "ls\x10\x11more"), { passed: "ls", detached: true });
  assert.deepEqual(typed("", "ls\x10", "\x11"), { passed: "ls", detached: true });
  assert.deepEqual(typed("a,b,c", "a", "b", "c"), { passed: "", detached: true });
});

test("passes on what only began like the sequence", () => {
  assert.deepEqual(typed("", "\x10x"), { passed: "\x10x", detached: false });
  assert.deepEqual(typed("", "\x10", "\x10\x11"), { passed: "\x10", detached: true });
  assert.deepEqual(typed("a,a,b", "aaab"), { passed: "a", detached: true });
  assert.deepEqual(typed("", "\x11\x10"), { passed: "\x11", detached: false });
});

test("without keys every byte goes through as it is", () => {
  const data = Buffer.from([16, 17, 0, 255]);
  assert.deepEqual(new DetachKeys(new Uint8Array()).read(data), { pass: data, detached: false });
});
