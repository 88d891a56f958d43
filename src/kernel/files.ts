import { chmodSync, constants, unlinkSync } from "node:fs";
import koffi from "koffi";
import { KernelError } from "./kernel.ts";
import { calls, check } from "./libc.ts";

const libc = koffi.load("libc.so.6");
const mkfifo = libc.func("int mkfifo(const char*, uint)");
const mknod = libc.func("int mknod(const char*, uint, ulong)");
const readlinkat = libc.func("long readlinkat(int, const char*, void*, size_t)");
// System calls without a function in every C library; their numbers are the same on all architectures since Linux 5.0.
const openat2 = libc.func("syscall", "long", ["long", "int", "const char*", "void*", "size_t"]);
const openTree = libc.func("syscall", "long", ["long", "int", "const char*", "uint"]);
const numbers = { openTree: 428, openat2: 437 } as const;
const resolveInRoot = 0x10n; // RESOLVE_IN_ROOT
const resolveNoMagicLinks = 0x02n; // RESOLVE_NO_MAGICLINKS
const closeOnExec = 0o2000000; // O_CLOEXEC
const here = -100; // AT_FDCWD
const patience = 100; // tries while somebody renames directories on the way

/** Opens a place without reading or writing it (open(2), O_PATH). */
export const pathOnly = 0o10000000;

/** Makes a FIFO that only root may open. One that was there is made anew. @throws {KernelError} */
export function makeFifo(path: string): void {
  removeFile(path);
  check(`mkfifo ${path}`, mkfifo(path, 0o600));
  chmodSync(path, 0o600);
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/**
 * Opens a path as a process would whose root directory is `root`: neither a link nor `..` leads out of it, whoever
 * changes the tree meanwhile (openat2(2), RESOLVE_IN_ROOT; Linux 5.6). The caller closes what it gets.
 * @param root descriptor of a directory @throws {KernelError} with openat2's errno
 */
export function openInRoot(root: number, path: string, flags: number): number {
  if (path.includes("\0")) throw new KernelError("EINVAL", `open ${JSON.stringify(path)}: Invalid argument`);
  const how = Buffer.alloc(24); // struct open_how: flags, mode, resolve
  how.writeBigUInt64LE(BigInt(flags | closeOnExec), 0);
  how.writeBigUInt64LE(resolveInRoot | resolveNoMagicLinks, 16);
  for (let tries = 1; ; tries += 1)
    try {
      return check(`open ${path}`, openat2(numbers.openat2, root, path || ".", how, how.length));
    } catch (error) {
      if ((error as KernelError).code !== "EAGAIN" || tries === patience) throw error;
    }
}

/** What the link says that is open at `fd`. @throws {KernelError} */
export function readLinkOf(fd: number): string {
  const target = Buffer.alloc(4096); // PATH_MAX
  const length = check("readlink", readlinkat(fd, "", target, target.length));
  return target.toString("utf8", 0, length);
}

/** Makes a device or FIFO; `device` is what stat(2) shows as `rdev`. A link at `path` is not followed. @throws {KernelError} */
export function makeNode(path: string, mode: number, device: number): void {
  check(`mknod ${path}`, mknod(path, mode, device));
}
/** Number of a device, as in `rdev` (makedev(3)). */
export const deviceNumber = (major: number, minor: number): number =>
  Number(
    (BigInt(major & ~0xfff) << 32n) |
      BigInt((major & 0xfff) << 8) |
      (BigInt(minor & ~0xff) << 12n) |
      BigInt(minor & 0xff),
  );
/** Major and minor number of a device. */
export const deviceParts = (device: number): { readonly major: number; readonly minor: number } => {
  const wide = BigInt(device);
  return {
    major: Number(((wide >> 32n) & 0xfffff000n) | ((wide >> 8n) & 0xfffn)),
    minor: Number(((wide >> 12n) & 0xffffff00n) | (wide & 0xffn)),
  };
};

/** MS_* of mount(2). */
const mountFlags = {
  ...{ readOnly: 1, noSuid: 2, noDevices: 4, noExec: 8 },
  ...{ remount: 32, bind: 4096, recursive: 16384, private: 1 << 18 },
} as const;
export type MountFlag = keyof typeof mountFlags;

/** mount(2). @throws {KernelError} */
export function mountAt(
  point: string,
  flags: readonly MountFlag[],
  what: { readonly source?: string; readonly type?: string; readonly data?: string } = {},
): void {
  const { source = "none", type = "none", data = null } = what;
  const bits = flags.reduce((sum, flag) => sum | mountFlags[flag], 0);
  check(`mount ${source} at ${point}`, calls.mount(source, point, type, bits, data));
}

/** Takes away what is mounted at `point` with all below it; nothing there is no error. @throws {KernelError} */
export function unmountAt(point: string): void {
  const detach = 2; // MNT_DETACH
  for (;;)
    try {
      check(`umount ${point}`, calls.umount2(point, detach));
    } catch (error) {
      if ((error as KernelError).code === "EINVAL") return; // it is no mount, or none any more
      throw error;
    }
}

/**
 * A copy of the mount at `point` that no path leads to: it is gone when its descriptor is closed, however this process
 * ends (open_tree(2), OPEN_TREE_CLONE). @param recursive with the mounts below it @throws {KernelError}
 */
export function copyMount(point: string, recursive: boolean): number {
  const clone = 1; // OPEN_TREE_CLONE
  const withThoseBelow = 0x8000; // AT_RECURSIVE
  const flags = clone | closeOnExec | (recursive ? withThoseBelow : 0);
  return check(`open_tree ${point}`, openTree(numbers.openTree, here, point, flags));
}

/** Flags to open a directory as a place to start from. */
export const directoryFlags = pathOnly | constants.O_DIRECTORY;
