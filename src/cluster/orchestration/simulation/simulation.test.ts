import assert from "node:assert/strict";
import { it } from "node:test";
import { simulate } from "./simulate-testing.ts";

const seeds = 1000;

it(`${seeds} stories of services, nodes and leaders that come and go end well, and nothing forbidden happens on the way`, () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= seeds && wrong.length < 3; seed += 1)
    try {
      simulate(seed);
    } catch (error) {
      wrong.push(`seed ${seed}: ${(error as Error).message}`);
    }
  assert.deepEqual(wrong, []);
});
