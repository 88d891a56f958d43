import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { timeText } from "./tasks.ts";

it("a process that never ran ended just now, not in the year 1", () => {
  const at = (seconds: bigint) => timeText(create(TimestampSchema, { seconds }));
  assert.equal(at(1_800_000_000n), "2027-01-15T08:00:00.000Z");
  for (const time of [at(-62_135_596_800n), timeText(undefined)])
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 1000, time);
});
