import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { readLogs } from "./read-logs.ts";

const options = { follow: false, stdout: true, stderr: true, since: 0, until: 0 };
const line = (number: number) =>
  `${JSON.stringify({ log: `${number}\n`, stream: "stdout", time: "2026-01-02T03:04:05.000000000Z" })}\n`;

it("has the lines that were there when it was asked for, however fast others come", async (test) => {
  const directory = await mkdtemp(join(tmpdir(), "tombolo-logs-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "log");
  let lines = 0;
  const append = () => appendFileSync(path, line((lines += 1)));
  while (lines < 3000) append(); // more than is read at once
  const writing = { done: () => false, onDone: () => () => {} };
  for (const tail of [5000, 2, 0]) {
    const there = lines;
    const seen: number[] = [];
    for await (const { data } of readLogs(path, { ...options, tail }, writing, new AbortController().signal)) {
      append();
      seen.push(Number(data));
    }
    assert.equal(seen.length, Math.min(tail, there));
    assert.equal(seen.at(-1), tail === 0 ? undefined : there);
  }
});
