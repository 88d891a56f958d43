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
/** Bytes and turns a second. */
export interface Speed {
  readonly stream: number;
  readonly turns: number;
}
const turnsOfLoad = 9;

/** Throughput and turns of several pairs, each measured in turn, so that a busy moment of the machine meets all of them. */
export async function load<N extends string>(pairs: Readonly<Record<N, Ends>>): Promise<Record<N, Speed>> {
  const script = join(import.meta.dirname, "load.ts");
  const names = Object.keys(pairs) as N[];
  const servers = names.map((name) =>
    spawn("nsenter", [`--net=${pairs[name].server}`, process.execPath, script, "serve"], {
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
  await Promise.all(servers.map(({ stdout }) => once(stdout, "data")));
  const one = ({ client, address }: Ends, mode: string) =>
    Number(execFileSync("nsenter", [`--net=${client}`, process.execPath, script, mode, address], { encoding: "utf8" }));
  const found = new Map(names.map((name) => [name, { stream: [] as number[], turns: [] as number[] }]));
  for (let round = 0; round < turnsOfLoad; round += 1)
    for (const name of names)
      for (const mode of ["stream", "turns"] as const) found.get(name)?.[mode].push(one(pairs[name], mode));
  for (const server of servers) server.kill("SIGKILL");
  const speeds = [...found].map(([name, { stream, turns }]) => [
    name,
    { stream: median(stream), turns: median(turns) },
  ]);
  return Object.fromEntries(speeds) as Record<N, Speed>;
}
