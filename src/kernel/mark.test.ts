import assert from "node:assert/strict";
import { it } from "node:test";
import { readMark, writeMark } from "./mark.ts";

it("reads the marks that it writes", () => {
  for (const mark of [
    { engine: "e1", owner: `endpoint:${"a".repeat(64)}`, peer: false },
    { engine: "e1", owner: "network:n", peer: true },
  ])
    assert.deepEqual(readMark(writeMark(mark)), mark);
});

it("takes no other alias for a mark", () => {
  for (const alias of [undefined, "", "uplink", "tombolo", "tombolo:e1", "tombolo::owner", "my tombolo:e1:owner"])
    assert.equal(readMark(alias), undefined);
});

it("refuses marks that Linux would not take or nobody could read", () => {
  assert.throws(() => writeMark({ engine: "e1", owner: "x".repeat(250), peer: false }), RangeError);
  assert.throws(() => writeMark({ engine: "e:1", owner: "host", peer: false }), RangeError);
  assert.throws(() => writeMark({ engine: "", owner: "host", peer: false }), RangeError);
});
