import assert from "node:assert/strict";
import { it } from "node:test";
import { durationText, parseDuration } from "./duration.ts";

it("spans are written as Go writes them, and read", () => {
  const spans: [text: string, milliseconds: number][] = [
    ["0s", 0],
    ["250ns", 0.00025],
    ["1.5µs", 0.0015],
    ["500ms", 500],
    ["1.5s", 1500],
    ["1m30s", 90_000],
    ["2h0m1s", 7_201_000],
  ];
  for (const [text, milliseconds] of spans)
    assert.deepEqual([durationText(milliseconds), parseDuration(text)], [text, milliseconds]);
  assert.deepEqual([parseDuration("0"), parseDuration("10m"), parseDuration(".5s")], [0, 600_000, 500]);
  for (const text of ["", "5", "s", "-1s", "1s ", "1d", "1.s.", "1s2"])
    assert.equal(parseDuration(text), undefined, text);
});
