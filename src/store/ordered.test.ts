import assert from "node:assert/strict";
import { it } from "node:test";
import { Ordered } from "./ordered.ts";

interface Row {
  readonly group: number;
  readonly id: number;
  readonly text: string;
}
const compare = (a: Row, b: Row) => a.group - b.group || a.id - b.id;
/** Repeatable: the linear congruential generator of Numerical Recipes. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

it("has what a plain list has, after many changes", () => {
  const random = randomFrom(1);
  let plain: readonly Row[] = [];
  let ordered = Ordered.of(plain, compare);
  const step = (round: number) => {
    const row = { group: random(40), id: random(100), text: `${round}` };
    const others = plain.filter((one) => compare(one, row) !== 0);
    const grows = round < 6000 ? random(4) > 0 : random(4) === 0;
    ordered = grows ? ordered.with(row) : ordered.without(row);
    plain = grows ? [...others, row] : others;
    return row;
  };
  for (let round = 0; round < 12_000; round += 1) {
    const row = step(round);
    if (round % 500 !== 0) continue;
    const sorted = plain.toSorted(compare);
    assert.deepEqual(ordered.list, sorted);
    assert.deepEqual([...ordered], sorted);
    assert.deepEqual(
      ordered.range(({ group }) => group - row.group),
      sorted.filter(({ group }) => group === row.group),
    );
    assert.deepEqual(
      ordered.find((one) => compare(one, row)),
      sorted.find((one) => compare(one, row) === 0),
    );
  }
  for (const row of plain) ordered = ordered.without(row);
  assert.deepEqual(ordered.list, []);
});

it("made of many rows at once it is the same, and copies leave it as it was", () => {
  const rows = Array.from({ length: 5000 }, (_, id) => ({ group: id % 7, id, text: "" }));
  const ordered = Ordered.of(rows.toReversed(), compare);
  const sorted = rows.toSorted(compare);
  assert.deepEqual(ordered.list, sorted);
  const [first] = sorted as [Row];
  assert.deepEqual(ordered.with({ ...first, text: "new" }).list, [{ ...first, text: "new" }, ...sorted.slice(1)]);
  assert.deepEqual(ordered.without(first).list, sorted.slice(1));
  assert.deepEqual(ordered.list, sorted);
});
