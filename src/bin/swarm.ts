import { readFileSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { call } from "./call.ts";

interface RestoreOptions {
  readonly advertiseAddr?: string;
  readonly listenAddr?: string;
  readonly dataPathAddr?: string;
}

/** `tombolo swarm`: what `docker swarm` has no words for. @param hostOf the daemon's socket */
export function swarmCommand(hostOf: () => string): Command {
  const swarm = new Command("swarm").description("keep a swarm's state, and begin it again from there");
  swarm
    .command("backup <file>")
    .description("write the swarm's state to a new file: its keys are in it, so it is for root alone")
    .action(async (file: string) => {
      const backup = await call(hostOf(), "GET", "/tombolo/swarm/backup");
      writeFileSync(file, `${JSON.stringify(backup)}\n`, { mode: 0o600, flag: "wx" });
      console.log(`The state of the swarm is in ${file}. Who has the file has the swarm's keys.`);
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
