import { existsSync, globSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { removeControlGroups } from "./control-groups.ts";
import { attempt, LabError, type Outcome, run } from "./command.ts";
import { LabHost } from "./host.ts";
import { mountsUnder, unmountUnder } from "./mounts.ts";
import { isAlive, kill, processesIn } from "./processes.ts";
import { type Job, type Progress, quiet } from "./progress.ts";
import { claim, locate, names, readState, release } from "./registry.ts";
import { makeSwitch } from "./switch.ts";

export interface LabOptions {
  /** 1 to 16; 3 when absent. */
  readonly hosts?: number;
  /** "lab" when absent. */
  readonly name?: string;
  /** Where all of the lab's files go; must be empty or absent. */
  readonly directory?: string;
  /** A `docker save` archive for each host. */
  readonly image?: string;
  /** More arguments for every tombolod. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/** Makes a lab; nothing is left of it when that fails. @throws {LabError} with the reason */
export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const { hosts = 3, name = "lab", image, args = [] } = options;
  if (process.getuid?.() !== 0) throw new LabError("a lab needs root");
  if (image !== undefined && !existsSync(image)) throw new LabError(`there is no file ${image}`);
  const directory = options.directory === undefined ? {} : { directory: resolve(options.directory) };
  const lab = new Lab(name, claim(name, hosts, { ...directory, args }));
  try {
    await makeSwitch(lab.switch);
    await (options.progress ?? quiet)(lab.hosts.map((host) => comeUp(host, hosts, options)));
    return lab;
  } catch (error) {
    await lab.down();
    throw options.signal?.aborted === true ? options.signal.reason : error;
  }
}

function comeUp(host: LabHost, hosts: number, { env = {}, image, signal }: LabOptions): Job {
  return {
    title: host.name,
    async work(say) {
      const step = (what: string) => {
        signal?.throwIfAborted();
        say(what);
      };
      step("makes its namespaces");
      await host.create(hosts);
      step("starts containerd and tombolod");
      await host.start({ env, signal });
      if (image !== undefined) {
        step("loads the image");
        await host.loadImage(resolve(image));
      }
      step(`ready at ${host.address}, unix://${host.socket}`);
    },
  };
}

/** All labs of this machine, by name. */
export const listLabs = (): Lab[] => names().map(openLab);
/** @throws {LabError} when there is no such lab */
export const openLab = (name: string): Lab => new Lab(name, locate(name));

/** Hosts on one machine, and the switch between them. */
export class Lab implements AsyncDisposable {
  readonly name: string;
  readonly directory: string;
  readonly hosts: readonly LabHost[];
  /** File that pins the switch's network namespace: the wire of host 2 is `u2` in there, the gateway is its bridge. */
  readonly switch: string;

  constructor(name: string, directory: string) {
    const { hosts, args } = readState(name, directory);
    this.name = name;
    this.directory = directory;
    this.switch = join(directory, "switch");
    this.hosts = Array.from({ length: hosts }, (_, i) => new LabHost(this, i + 1, args));
  }

  /** A host by its name, "h1", or its number. @throws {LabError} when there is none */
  host(wanted: string | number): LabHost {
    const found = this.hosts.find(({ name, number }) => name === wanted || number === wanted);
    if (found !== undefined) return found;
    const known = this.hosts.map(({ name }) => name).join(", ");
    throw new LabError(`lab "${this.name}" has no host "${wanted}": there are ${known}`);
  }

  /** The command that runs another one in the switch's network namespace, where the gateway and every wire are. */
  enterSwitch(...command: string[]): string[] {
    return ["nsenter", `--net=${this.switch}`, "--", ...command];
  }
  /** Runs a program where the gateway is. @throws {LabError} when it fails */
  outside(...command: string[]): Promise<string> {
    return run(this.enterSwitch(...command));
  }
  /** Runs a program where the gateway is; it need not succeed. */
  tryOutside(...command: string[]): Promise<Outcome> {
    return attempt(this.enterSwitch(...command));
  }

  /** Ends every process and removes every namespace, mount and file, whatever state they are in. */
  async down(): Promise<void> {
    // An `up` that was killed may have left programs that still pin a namespace.
    for (let tries = 0; tries === 0 || (tries < 10 && mountsUnder(this.directory).length > 0); tries += 1) {
      await endProcesses(pinsUnder(this.directory));
      await unmountUnder(this.directory);
    }
    await removeControlGroups(containersOf(this.directory));
    const left = mountsUnder(this.directory).map(({ path }) => path);
    // What is mounted there would be emptied.
    if (left.length > 0) throw new LabError(`still mounted: ${left.join(", ")}`);
    release(this.name, this.directory);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.down();
  }
}

const pinsUnder = (directory: string) =>
  mountsUnder(directory).flatMap(({ path, type }) => (type === "nsfs" ? [path] : []));

/** The first process of each host takes with it what is in containers; others may have been sent into the namespaces. */
async function endProcesses(pins: readonly string[]): Promise<void> {
  for (;;) {
    const found = processesIn(pins).filter(isAlive);
    if (found.length === 0) return;
    await kill(found);
  }
}

const containersOf = (directory: string) =>
  globSync(join(directory, "h*/data/containers/*")).map((path) => basename(path));
