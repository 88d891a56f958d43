import { describe, it } from "node:test";
import { Churn } from "../support/churn.ts";
import { useSwarm } from "../support/swarm.ts";

const seed = Number(process.env.TOMBOLO_SEED ?? Date.now() % 100_000);
const steps = Number(process.env.TOMBOLO_STEPS ?? 10_000);

describe("hosts that fail all the time", () => {
  const swarm = useSwarm();

  it(`${steps} times a container comes onto a network or leaves it (seed ${seed})`, async (test) => {
    const churn = new Churn(swarm, seed);
    await churn.run(steps);
    test.diagnostic(`${churn.kills} daemons were killed, ${churn.cuts} wires cut`);
    for (const [text, count] of churn.refusals) test.diagnostic(`refused ${count} times: ${text}`);
  });
});
