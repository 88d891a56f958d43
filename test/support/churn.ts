import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { assertAgreement } from "./ledger.ts";
import { type useSwarm } from "./swarm.ts";
import { until } from "./until.ts";

interface Member {
  readonly number: number;
  readonly name: string;
  /** Undefined: it is to be found out. */
  isOn: boolean | undefined;
}
/** Some time in which a container had an address for sure, in milliseconds; `to` is missing while it has. */
interface Holding {
  readonly name: string;
  readonly address: string;
  readonly from: number;
  to?: number;
}
const perHost = 3;
/** Steps after which everything is to be in order. */
const round = 500;
/** So many of 100 steps come with a fault of each kind. */
const faults = 1.5;
const longestCut = 3000; // milliseconds

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

/**
 * Containers on three hosts that come onto a network and leave it, on all hosts at a time, while daemons are killed, a manager
 * goes with its etcd, and wires are cut. Chances follow from the seed; what meets what does not.
 */
export class Churn {
  readonly #swarm: ReturnType<typeof useSwarm>;
  readonly #random: () => number;
  readonly #members: readonly Member[];
  readonly #history: Holding[] = [];
  /** What was refused, and how often. */
  readonly refusals = new Map<string, number>();
  kills = 0;
  cuts = 0;
  #left = 0;

  constructor(swarm: ReturnType<typeof useSwarm>, seed: number) {
    this.#swarm = swarm;
    this.#random = numbers(seed);
    this.#members = [1, 2, 3].flatMap((number) =>
      Array.from({ length: perHost }, (_, at) => ({ number, name: `c${number}${at}`, isOn: false })),
    );
  }

  /** @param steps how many times a container comes onto the network, or leaves it @throws when something does not hold */
  async run(steps: number): Promise<void> {
    await this.#begin();
    for (let done = 0; done < steps; done += round) {
      this.#left = Math.min(round, steps - done);
      const storm = this.#storm(this.#left);
      await Promise.all([storm, ...[1, 2, 3].map((number) => this.#work(number))]);
      await this.#check();
    }
    await this.#end();
  }

  #host = (number: number) => this.#swarm.host(number);
  #one = <T>(list: readonly T[]): T => list[Math.floor(this.#random() * list.length)] as T;

  async #begin(): Promise<void> {
    const { docker, token, joinWith } = this.#swarm;
    await docker(1, "swarm init --dispatcher-heartbeat 1s");
    const secret = await token("worker");
    for (const number of [2, 3]) await joinWith(number, secret);
    await docker(1, "network create -d overlay --attachable --subnet 10.20.0.0/28 net");
    for (const { number, name } of this.#members) await docker(number, `run -d --name ${name} busybox sleep 1d`);
  }

  /** One host's steps. */
  async #work(number: number): Promise<void> {
    const own = this.#members.filter((member) => member.number === number);
    while (this.#left > 0) {
      this.#left -= 1;
      await this.#step(this.#one(own));
    }
  }

  async #step(member: Member): Promise<void> {
    member.isOn ??= await this.#look(member);
    const verb = member.isOn ? "disconnect" : "connect";
    if (member.isOn) this.#close(member);
    member.isOn = undefined;
    const reply = await this.#host(member.number)
      .ask("POST", `/networks/net/${verb}`, { Container: member.name })
      .catch(() => undefined); // its daemon was killed
    if (reply !== undefined && reply.status !== 200) this.#note(reply.answer);
    if (reply?.status === 200 && verb === "disconnect") member.isOn = false;
    else member.isOn = await this.#look(member);
  }

  #note(answer: string): void {
    const text = (JSON.parse(answer) as { message: string }).message.replaceAll(/[0-9a-f]{12,}/g, "ID");
    this.refusals.set(text, (this.refusals.get(text) ?? 0) + 1);
  }

  /** Whether it is on the network; what it has there is written down. It waits for the daemon. */
  async #look({ number, name }: Member): Promise<boolean> {
    for (const end = Date.now() + 60_000; ; await sleep(20))
      try {
        const { answer } = await this.#host(number).ask("GET", `/containers/${name}/json`);
        const { net } = (JSON.parse(answer) as { NetworkSettings: { Networks: Record<string, { IPAddress: string }> } })
          .NetworkSettings.Networks;
        if (net !== undefined) this.#history.push({ name, address: net.IPAddress, from: performance.now() });
        return net !== undefined;
      } catch (error) {
        if (Date.now() > end) throw error;
      }
  }

  #close({ name }: Member): void {
    const last = this.#history.findLast((holding) => holding.name === name);
    if (last !== undefined) last.to = performance.now();
  }

  /** Faults until the steps are done. */
  async #storm(steps: number): Promise<void> {
    const count = Math.ceil((steps * faults) / 100);
    const kinds = [() => this.#kill(), () => this.#cut()];
    const due = Array.from({ length: 2 * count }, (_, at) => ({ at: this.#random() * steps, fault: kinds[at % 2] }));
    for (const { at, fault } of due.toSorted((a, b) => b.at - a.at)) {
      while (this.#left > at) await sleep(20);
      await fault?.();
    }
  }

  async #kill(): Promise<void> {
    this.kills += 1;
    const number = this.#one([1, 2, 3]);
    if (number === 1 && this.#random() < 0.5) await this.#swarm.crash(1);
    else await this.#host(number).kill();
    await this.#host(number).start();
  }

  async #cut(): Promise<void> {
    this.cuts += 1;
    const host = this.#host(this.#one([2, 3]));
    await host.cut(this.#one(["both", "to", "from"] as const));
    await sleep(this.#random() * longestCut);
    await host.heal();
  }

  async #check(): Promise<void> {
    const hosts = [1, 2, 3].map(this.#host);
    await assertAgreement(hosts, this.#host(1));
    for (const host of hosts) assert.deepEqual(await host.audit(), [], `the audit of ${host.name}`);
    const addresses = Map.groupBy(this.#history, ({ address }) => address);
    for (const [address, holdings] of addresses)
      for (const one of holdings) {
        const other = holdings.find(
          ({ name, from, to = Infinity }) => name !== one.name && from < (one.to ?? Infinity) && one.from < to,
        );
        assert.equal(other, undefined, `${address} was ${one.name}'s and ${other?.name}'s at one time`);
      }
    // What is over is over: it was looked at.
    this.#history.splice(0, Infinity, ...this.#history.filter(({ to }) => to === undefined));
  }

  /** All come onto the network and reach one another; then all go, and the network can be removed. */
  async #end(): Promise<void> {
    for (const member of this.#members)
      await until(async () => member.isOn === true || (await this.#step(member), false), member.name);
    const addresses = new Map(this.#history.map(({ name, address }) => [name, address]));
    assert.equal(new Set(addresses.values()).size, this.#members.length, [...addresses.values()].join(" "));
    const pings = [...addresses.values()].map((address) => `ping -c1 -W20 ${address} >/dev/null || echo ${address}`);
    for (const { number, name } of this.#members) {
      const inside = (line: string) => this.#host(number).docker("exec", name, "sh", "-c", line);
      assert.match(await inside("ip -o -4 addr"), new RegExp(`inet ${addresses.get(name)}/28 `));
      assert.equal(await inside(pings.join("; ")), "", `${name} does not reach these`);
    }
    for (const { number, name } of this.#members) await this.#host(number).docker("rm", "-f", name);
    await this.#check();
    await this.#swarm.docker(1, "network rm net");
  }
}
