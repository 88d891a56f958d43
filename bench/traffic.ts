import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { median } from "./figures.ts";

/** Namespaces between which something is measured, and the server's address. */
export interface Ends {
  readonly server: string;
  readonly client: string;
  readonly address: string;
}
/** What is measured, of `bench/load.ts`. */
export type Mode = "stream" | "turns" | "connections" | "requests";
/** How many a second: bytes of a stream. */
export type Speed<M extends Mode> = Readonly<Record<M, number>>;
/** Milliseconds, sorted: of requests over connections of their own, and over one that is kept. */
export interface Delays {
  readonly fresh: readonly number[];
  readonly kept: readonly number[];
}
export const ports = { stream: 7001, turns: 7002, greeting: 7003, http: 7004 } as const;
const turnsOfLoad = 9;
const script = join(import.meta.dirname, "load.ts");

/** Answers what `bench/load.ts` asks, in a network namespace, until it is disposed of. */
export async function serve(namespace: string): Promise<Disposable> {
  const child = spawn("nsenter", [`--net=${namespace}`, process.execPath, script, "serve"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** @returns what the client's side of `bench/load.ts` prints */
export const askIn = (namespace: string, mode: Mode | "delays", address: string): string =>
  execFileSync("nsenter", [`--net=${namespace}`, process.execPath, script, mode, address], { encoding: "utf8" });

/** Throughput and turns of several pairs, each measured in turn, so that a busy moment of the machine meets all of them. */
export async function load<N extends string>(
  pairs: Readonly<Record<N, Ends>>,
): Promise<Record<N, Speed<"stream" | "turns">>> {
  using servers = new DisposableStack();
  for (const name of Object.keys(pairs) as N[]) servers.use(await serve(pairs[name].server));
  return compare(pairs, ["stream", "turns"]);
}

/** Medians of several ways to servers that are there, each measured in turn. */
export function compare<N extends string, M extends Mode>(
  ways: Readonly<Record<N, Omit<Ends, "server">>>,
  modes: readonly M[],
): Record<N, Speed<M>> {
  const names = Object.keys(ways) as N[];
  const found = new Map(names.map((name) => [name, new Map(modes.map((mode) => [mode, [] as number[]]))]));
  for (let round = 0; round < turnsOfLoad; round += 1)
    for (const name of names)
      for (const mode of modes)
        found
          .get(name)
          ?.get(mode)
          ?.push(Number(askIn(ways[name].client, mode, ways[name].address)));
  const speeds = [...found].map(([name, times]) => [
    name,
    Object.fromEntries([...times].map(([mode, values]) => [mode, median(values)])),
  ]);
  return Object.fromEntries(speeds) as Record<N, Speed<M>>;
}
