import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { until, useSwarm } from "../support/swarm.ts";

const seed = Number(process.env.TOMBOLO_SEED ?? Date.now() % 100_000);
const steps = Number(process.env.TOMBOLO_STEPS ?? 60);

/** Numbers from 0 to below 1 that are the same for a seed (mulberry32). */
function numbers(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("containers that come onto a network and leave it while hosts fail", () => {
  const { host, docker, token, joinWith } = useSwarm();
  const containers = [1, 2, 3].flatMap((number) => [0, 1, 2].map((index) => ({ number, name: `c${number}${index}` })));
  const addressOf = async ({ number, name }: (typeof containers)[number]) =>
    (
      await host(number).docker("inspect", "-f", "{{with .NetworkSettings.Networks.net}}{{.IPAddress}}{{end}}", name)
    ).trim();

  it(`no address is ever two containers', and in the end all reach each other (seed ${seed})`, async () => {
    const random = numbers(seed);
    const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    await docker(1, "swarm init --dispatcher-heartbeat 1s");
    const secret = await token("worker");
    for (const number of [2, 3]) await joinWith(number, secret);
    await docker(1, "network create -d overlay --attachable --subnet 10.20.0.0/28 net");
    for (const { number, name } of containers)
      await docker(number, `run -d --name ${name} --network none busybox sleep 1d`);
    for (const { number, name } of containers) await docker(number, `network disconnect none ${name}`);

    const held = new Map<string, string>();
    for (let step = 0; step < steps; step += 1) {
      const dice = random();
      if (dice < 0.03) {
        const number = one([1, 2, 3]);
        await host(number).kill();
        await host(number).start();
      } else if (dice < 0.06) {
        const number = one([2, 3]);
        await host(number).cut();
        await host(number).heal();
      } else await change(one(containers), step);
    }

    async function change(container: (typeof containers)[number], step: number): Promise<void> {
      const { number, name } = container;
      const isOn = held.has(name);
      const verb = isOn ? "disconnect" : "connect";
      const { status, stderr } = await host(number).tryDocker("network", verb, "net", name);
      const address = status === 0 && !isOn ? await addressOf(container) : "";
      if (isOn && status === 0) held.delete(name);
      if (address === "") return;
      const other = [...held].find(([, known]) => known === address);
      assert.equal(other, undefined, `step ${step}: ${address} is ${name}'s and ${other?.[0]}'s; ${stderr}`);
      held.set(name, address);
    }

    for (const container of containers) {
      const { number, name } = container;
      if ((await addressOf(container)) !== "") continue;
      await until(
        async () => (await host(number).tryDocker("network", "connect", "net", name)).status === 0,
        15_000,
        `${name} connects`,
      );
    }
    const addresses = await Promise.all(containers.map(addressOf));
    assert.equal(new Set(addresses).size, containers.length, addresses.join(" "));
    for (const { number, name } of containers)
      for (const address of addresses)
        await until(
          async () => (await host(number).tryDocker("exec", name, "ping", "-c1", "-W1", address)).status === 0,
          10_000,
          `${name} reaches ${address}`,
        );
    for (const { number, name } of containers) await docker(number, `rm -f ${name}`);
    await until(async () => (await host(1).tryDocker("network", "rm", "net")).status === 0, 5000, "nobody is on it");
  });
});
