import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** A device node of the OCI specification (config-linux.md, Devices). */
export interface OciDevice {
  readonly path: string;
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}
/** Those that every container has of its own, or that are no devices of the host. */
const own = new Set([
  "pts",
  "shm",
  "fd",
  "mqueue",
  "console",
  "null",
  "zero",
  "full",
  "tty",
  "urandom",
  "random",
  "ptmx",
]);

/** Every device of the host: what `--privileged` gives. */
export function hostDevices(directory = "/dev"): OciDevice[] {
  return readdirSync(directory).flatMap((name): OciDevice[] => {
    const path = join(directory, name);
    const found = own.has(name) ? undefined : lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) return hostDevices(path);
    if (!found?.isCharacterDevice() && !found?.isBlockDevice()) return [];
    const { major, minor } = numbersOf(found.rdev);
    const type = found.isBlockDevice() ? "b" : "c";
    return [{ path, type, major, minor, fileMode: found.mode & 0o7777, uid: found.uid, gid: found.gid }];
  });
}

/** As glibc puts them together (sys/sysmacros.h). */
function numbersOf(device: number): { major: number; minor: number } {
  const wide = BigInt(device);
  return {
    major: Number(((wide >> 8n) & 0xfffn) | ((wide >> 32n) & 0xfffff000n)),
    minor: Number((wide & 0xffn) | ((wide >> 12n) & 0xffffff00n)),
  };
}
