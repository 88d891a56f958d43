import { setTimeout as sleep } from "node:timers/promises";
import { dockerd, type Engine, tombolod } from "./engine.ts";
import { median, report } from "./figures.ts";
import { Pair } from "./pair.ts";

const rounds = 11;
/** What a daemon does behind its answer ends before the next call, milliseconds. */
const rest = 500;

type Step = "init" | "leave of the manager" | "join" | "leave of the worker";
type Times = Record<Step, number[]>;
const noTimes = (): Times => ({ init: [], join: [], "leave of the worker": [], "leave of the manager": [] });

const place = (address: string) => ({ ListenAddr: "0.0.0.0:2377", AdvertiseAddr: `${address}:2377` });

async function timed(engine: Engine, path: string, body?: object): Promise<number> {
  const time = await engine.timed("POST", `/v1.41/swarm/${path}`, body);
  await sleep(rest);
  return time;
}

/** A swarm of two nodes, from the beginning to the end. */
async function round({ first, second, addresses: [here, there] }: Pair, times: Times): Promise<void> {
  times.init.push(await timed(first, "init", place(here)));
  const JoinToken = first.docker("swarm", "join-token", "-q", "worker");
  const join = { ...place(there), RemoteAddrs: [`${here}:2377`], JoinToken };
  times.join.push(await timed(second, "join", join));
  times["leave of the worker"].push(await timed(second, "leave"));
  times["leave of the manager"].push(await timed(first, "leave?force=1"));
}

/** `swarm init` and `swarm join` at the API, each daemon in turn. */
export async function swarm(directory: string): Promise<void> {
  await using ours = await Pair.start("tombolod-pair", directory, tombolod);
  await using theirs = await Pair.start("dockerd-pair", directory, dockerd);
  const [a, b] = [noTimes(), noTimes()];
  for (let count = 0; count < rounds; count += 1) {
    await round(ours, a);
    await round(theirs, b);
  }
  for (const step of Object.keys(a) as Step[]) {
    const [x, y] = [median(a[step]), median(b[step])];
    report(`swarm: ${step}`, x / y, 1, "low", `${x.toFixed(0)} ms against ${y.toFixed(0)} ms`);
  }
}
