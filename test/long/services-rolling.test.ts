import { describe, it } from "node:test";
import { assertNoneFailed, type Round, useWebSwarm } from "../support/web-swarm.ts";

const count = Number(process.env.TOMBOLO_ROUNDS ?? 20);
const ways: readonly Round[] = [
  { order: "stop-first", parallelism: 1 },
  { order: "start-first", parallelism: 2 },
  { order: "stop-first", parallelism: 2 },
  { order: "start-first", parallelism: 2, isRollback: true },
  { order: "start-first", parallelism: 5 },
];

describe("a service that is updated all the time", () => {
  const { threeManagers, serve, clear, askBoth, roll } = useWebSwarm();

  it(`loses none of 1,000 requests a second in ${count} updates of ten tasks`, async (test) => {
    await threeManagers();
    await serve(10, "--label tombolo.drain=500ms");
    const loads = await askBoth(1, 500);
    for (let round = 0; round < count; round += 1) {
      const way = ways[round % ways.length] as Round;
      const began = performance.now();
      await roll(way);
      test.diagnostic(`${JSON.stringify(way)}: ${Math.round(performance.now() - began)} ms`);
    }
    for (const line of await assertNoneFailed(loads)) test.diagnostic(line);
    await clear();
  });
});
