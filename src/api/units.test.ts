import assert from "node:assert/strict";
import { test } from "node:test";
import { humanDuration } from "./units.ts";

const s = 1000;
const h = 3600 * s;
const d = 24 * h;
const cases: readonly (readonly [number, string])[] = [
  [-5 * s, "Less than a second"],
  [999, "Less than a second"],
  [s, "1 second"],
  [47 * s, "47 seconds"],
  [60 * s, "About a minute"],
  [119 * s, "About a minute"],
  [120 * s, "2 minutes"],
  [59.9 * 60 * s, "59 minutes"],
  [h, "About an hour"],
  [1.4 * h, "About an hour"],
  [1.5 * h, "2 hours"],
  [47.4 * h, "47 hours"],
  [2 * d, "2 days"],
  [13 * d, "13 days"],
  [14 * d, "2 weeks"],
  [59 * d, "8 weeks"],
  [60 * d, "2 months"],
  [729 * d, "24 months"],
  [730 * d, "2 years"],
];
for (const [span, text] of cases)
  test(`${span} ms are "${text}"`, () => {
    assert.equal(humanDuration(span), text);
  });
