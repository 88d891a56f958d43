import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LabError } from "./command.ts";

/** Where labs are known by name: each is a directory here, or a link to one. On the disk, for containerd's layers. */
export const registry = "/var/lib/tombolo-lab"; // not under /var/lib/tombolo, which only root may pass through
const overlay = 0x794c7630; // statfs(2), OVERLAYFS_SUPER_MAGIC
const socketPathMax = 107; // unix(7), without the zero at the end

/** The file lab.json in a lab's directory. */
export interface LabState {
  readonly name: string;
  readonly hosts: number;
  /** ISO 8601. */
  readonly created: string;
  /** More arguments for every tombolod. */
  readonly args: readonly string[];
}
export const mostHosts = 16;

/** Claims a name and a directory for a lab. @returns the directory @throws {LabError} when either is taken or unfit */
export function claim(name: string, hosts: number, wish: { directory?: string; args?: readonly string[] }): string {
  checkName(name);
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > mostHosts)
    throw new LabError(`a lab has 1 to ${mostHosts} hosts`);
  const entry = join(registry, name);
  if (wish.directory !== undefined) checkDirectory(wish.directory);
  const directory = wish.directory ?? entry;
  if (Buffer.byteLength(join(directory, `h${hosts}`, "docker.sock")) > socketPathMax)
    throw new LabError(`${directory}: the path of a socket in it would be longer than ${socketPathMax} bytes`);
  mkdirSync(registry, { recursive: true, mode: 0o755 });
  try {
    if (wish.directory === undefined) mkdirSync(entry);
    else symlinkSync(directory, entry);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new LabError(
      `there is a lab "${name}": end it with \`tombolo lab down --name ${name}\`, or give another name`,
    );
  }
  const state: LabState = { name, hosts, created: new Date().toISOString(), args: wish.args ?? [] };
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    writeFileSync(join(directory, "lab.json"), `${JSON.stringify(state, undefined, 2)}\n`, { flag: "wx" });
  } catch (error) {
    rmSync(entry, { recursive: true }); // the link, not what another lab may have put where it leads
    throw error;
  }
  if (statfsSync(directory).type !== overlay) return realpathSync(directory);
  release(name, directory);
  throw new LabError(`${directory} is on an overlay file system, where containerd has no layers: use --dir`);
}

function checkName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,30}$/.test(name))
    throw new LabError(`"${name}" is no name for a lab: 1 to 31 letters, digits, "-" and "_"`);
}

/** It is removed with the lab: nothing of somebody else's may be in it. */
function checkDirectory(directory: string): void {
  if (!existsSync(directory)) return;
  if (!lstatSync(directory).isDirectory() || readdirSync(directory).length > 0)
    throw new LabError(`${directory} is not an empty directory`);
}

/** Names of all labs, also of those of which only a part is there. */
export const names = (): string[] => (existsSync(registry) ? readdirSync(registry).toSorted() : []);

/** @returns the directory of a lab, without symbolic links @throws {LabError} when there is no such lab */
export function locate(name: string): string {
  checkName(name);
  const entry = join(registry, name);
  if (lstatSync(entry, { throwIfNoEntry: false }) === undefined) {
    const others = names();
    const known = others.length === 0 ? "there is none" : `there are ${others.join(", ")}`;
    throw new LabError(`there is no lab "${name}" (${known}): \`tombolo lab up\` makes one`);
  }
  return existsSync(entry) ? realpathSync(entry) : entry;
}

/** A lab that was broken off before it was written down has no hosts. */
export function readState(name: string, directory: string): LabState {
  try {
    return JSON.parse(readFileSync(join(directory, "lab.json"), "utf8")) as LabState;
  } catch {
    return { name, hosts: 0, created: "", args: [] };
  }
}

/** Removes a lab's files and its name. */
export function release(name: string, directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  rmSync(join(registry, name), { recursive: true, force: true });
  try {
    rmdirSync(registry);
  } catch (error) {
    if (!["ENOTEMPTY", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
