import { readFileSync, writeFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { call } from "./call.ts";

interface RestoreOptions {
  readonly advertiseAddr?: string;
  readonly listenAddr?: string;
  readonly dataPathAddr?: string;
}

interface Rotated {
  readonly Nodes: readonly string[];
  readonly Away: readonly string[];
}
const report = ({ Nodes = [], Away = [] }: Partial<Rotated>) => [
  `New keys are in use on ${Nodes.join(", ")}.`,
  ...(Away.length === 0 ? [] : [`Not there, to get theirs when they are back: ${Away.join(", ")}.`]),
];
const everyText = (every: number) =>
  every === 0 ? "Keys are used until this command gives others." : `Keys are used for ${every / 1e9} s.`;

const units = { s: 1e9, m: 60e9, h: 3600e9 } as const; // nanoseconds
/** @throws {InvalidArgumentError} */
function readDuration(text: string): number {
  const [, number, unit] = /^(\d+)([smh])$/.exec(text) ?? [];
  if (text === "0") return 0;
  if (number === undefined) throw new InvalidArgumentError("a number and h, m or s are wanted, as 12h");
  return Number(number) * units[unit as keyof typeof units];
}

/** `tombolo swarm`: what `docker swarm` has no words for. @param hostOf the daemon's socket */
export function swarmCommand(hostOf: () => string): Command {
  const swarm = new Command("swarm").description("keep a swarm's state, begin it again from there, rotate its keys");
  swarm
    .command("backup <file>")
    .description("write the swarm's state to a new file: its keys are in it, so it is for root alone")
    .action(async (file: string) => {
      const backup = await call(hostOf(), "GET", "/tombolo/swarm/backup");
      writeFileSync(file, `${JSON.stringify(backup)}\n`, { mode: 0o600, flag: "wx" });
      console.log(`The state of the swarm is in ${file}. Who has the file has the swarm's keys.`);
    });
  swarm
    .command("rotate-keys")
    .description("give all nodes other keys for encrypted networks, now; no packet is lost by it")
    .addOption(
      new Option(
        "--every <duration>",
        "say instead how long keys are used, as 12h or 30m; 0: until this command",
      ).argParser(readDuration),
    )
    .action(async ({ every }: { readonly every?: number }) => {
      const body = JSON.stringify(every === undefined ? {} : { Every: every });
      const answer = (await call(hostOf(), "POST", "/tombolo/swarm/rotate-keys", body)) as Partial<Rotated>;
      for (const line of every === undefined ? report(answer) : [everyText(every)]) console.log(line);
    });
  swarm
    .command("restore <file>")
    .description("begin the swarm of a backup again, with this host as its only manager")
    .option("--advertise-addr <address>", "as `docker swarm init` has it")
    .option("--listen-addr <address>", "as `docker swarm init` has it", "0.0.0.0:2377")
    .option("--data-path-addr <address>", "as `docker swarm init` has it")
    .action(async (file: string, { advertiseAddr, listenAddr, dataPathAddr }: RestoreOptions) => {
      const Backup: unknown = JSON.parse(readFileSync(file, "utf8"));
      const said = { ListenAddr: listenAddr, AdvertiseAddr: advertiseAddr, DataPathAddr: dataPathAddr };
      const id = await call(hostOf(), "POST", "/tombolo/swarm/restore", JSON.stringify({ ...said, Backup }));
      console.log(`Swarm begun again: current node (${String(id)}) is its manager.`);
    });
  return swarm;
}
