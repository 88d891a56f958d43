import { Command, InvalidArgumentError, Option } from "commander";
import type { Lab } from "../lab/lab.ts";
import type { Cut } from "../lab/switch.ts";

interface Named {
  readonly name: string;
}
interface UpOptions extends Named {
  readonly hosts: number;
  readonly dir?: string;
  readonly image?: string;
}
/** Loaded when a lab is wanted: other commands start without it. */
const load = () => import("../lab/lab.ts");
const open = async (name: string): Promise<Lab> => (await load()).openLab(name);
const nameOption = () => new Option("--name <name>", "which lab").default("lab");
const number = (text: string) => {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("wants a number.");
};

/** `tombolo lab`: N hosts on this machine, to try networks of many hosts. */
export function labCommand(): Command {
  const lab = new Command("lab").description("hosts on this machine, each with a daemon: try networks of many hosts");
  lab
    .command("up")
    .description("make a lab and start its hosts h1…hN")
    .option("--hosts <n>", "how many, 1 to 16", number, 3)
    .option("--dir <dir>", "where its files go: empty or absent, not on an overlay file system")
    .option("--image <tar>", "load this `docker save` archive on each host")
    .addOption(nameOption())
    .action(up);
  lab.command("list").description("labs, their hosts, and which daemons run").action(list);
  lab
    .command("exec <host> <command...>")
    .description("run a command on a host, or on `switch`, where every wire and the gateway are; put -- before it")
    .addOption(nameOption())
    .action(exec);
  lab
    .command("link <host> <cut|heal>")
    .description("cut a host's wire, or heal it")
    .addOption(new Option("--to", "cut: only what goes to the host is lost").conflicts("from"))
    .option("--from", "cut: only what comes from the host is lost")
    .addOption(nameOption())
    .action(link);
  lab
    .command("kill <host>")
    .description("kill -9 the daemon of a host; containers go on")
    .addOption(nameOption())
    .action(async (host: string, { name }: Named) => (await open(name)).host(host).kill());
  lab
    .command("start <host>")
    .description("start the daemon of a host again")
    .addOption(nameOption())
    .action(async (host: string, { name }: Named) => (await open(name)).host(host).start());
  lab
    .command("down")
    .description("end a lab and remove everything of it")
    .option("--all", "end every lab")
    .addOption(nameOption())
    .action(down);
  return lab;
}

async function up({ hosts, dir, image, name }: UpOptions): Promise<void> {
  const [{ startLab }, { progress }] = await Promise.all([load(), import("../lab/progress.ts")]);
  const began = performance.now();
  const stop = new AbortController();
  for (const by of ["SIGINT", "SIGTERM"] as const)
    process.once(by, () => stop.abort(new Error("interrupted: nothing is left of the lab")));
  const lab = await startLab({
    hosts,
    name,
    ...(dir !== undefined && { directory: dir }),
    ...(image !== undefined && { image }),
    progress: progress(),
    signal: stop.signal,
  });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const other = name === "lab" ? "" : ` --name ${name}`;
  console.log(`
Lab "${name}" is up: ${hosts} ${hosts === 1 ? "host" : "hosts"} in ${seconds} s. To go on:

  docker -H unix://${lab.host(1).socket} network ls
  tombolo lab exec${other} h1 -- ip address
  tombolo lab list
  tombolo lab down${other}`);
}

async function list(): Promise<void> {
  const { listLabs } = await load();
  const rows = listLabs().flatMap((lab) =>
    lab.hosts.length === 0
      ? [[lab.name, "-", "-", "broken off", lab.directory]]
      : lab.hosts.map((host) => [lab.name, host.name, host.address, host.state(), `unix://${host.socket}`]),
  );
  const table = [["NAME", "HOST", "ADDRESS", "DAEMON", "SOCKET"], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of table)
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}

async function exec(host: string, command: string[], { name }: Named): Promise<void> {
  const lab = await open(name);
  const { hand } = await import("../lab/command.ts");
  if (host === "switch") process.exitCode = await hand(lab.enterSwitch(...command), {});
  else process.exitCode = await hand(lab.host(host).enter(...command), lab.host(host).env);
}

type LinkOptions = Named & { readonly to?: boolean; readonly from?: boolean };
async function link(host: string, verb: string, { name, to, from }: LinkOptions): Promise<void> {
  const found = (await open(name)).host(host);
  const oneWay: Cut | undefined = to === true ? "to" : from === true ? "from" : undefined;
  if (verb === "cut") return found.cut(oneWay);
  if (verb !== "heal") throw new Error(`lab link: "${verb}" is neither cut nor heal`);
  if (oneWay !== undefined) throw new Error(`lab link: heal undoes every cut, it has no --${oneWay}`);
  return found.heal();
}

async function down({ all, name }: Named & { readonly all?: boolean }): Promise<void> {
  const { listLabs, openLab } = await load();
  for (const lab of all === true ? listLabs() : [openLab(name)]) await lab.down();
}
