import assert from "node:assert/strict";
import { it } from "node:test";
import { Multimap } from "./multimap.ts";

it("a multimap has the values of a key, each once, and no key without one", () => {
  const map = new Multimap<string, number>();
  for (const value of [1, 2, 2, 3, 1]) map.add("a", value);
  map.add("b", 4);
  assert.deepEqual([map.values("a"), map.values("b"), map.values("c")], [[1, 2, 3], [4], []]);
  for (const value of [1, 3, 9]) map.delete("a", value);
  map.delete("b", 9);
  assert.deepEqual([map.values("a"), map.keys()], [[2], ["a", "b"]]);
  map.add("a", 1);
  assert.deepEqual(map.values("a"), [2, 1]);
  for (const value of [2, 1]) map.delete("a", value);
  map.delete("b", 4);
  assert.deepEqual([map.keys(), map.has("a"), map.isEmpty], [[], false, true]);
});
