import { closeSync, constants, fstatSync, mkdirSync, type BigIntStats } from "node:fs";
import { posix } from "node:path";
import { directoryFlags, openInRoot, pathOnly, readLinkOf } from "../../kernel/files.ts";
import type { PathStat } from "../runtime.ts";

const mostLinks = 255; // on the way to one file, as Go's filepath.EvalSymlinks

/** The errno's name of an error from the kernel, from Node or from us. */
export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** An entry of an open directory. Only the last part is looked up, so that nothing on the way can be swapped. */
export const entryOf = (directory: number, name: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), Buffer.from(name)]);
/** What is open at a descriptor, whatever has become of its name. */
export const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

/** Runs `body` with a descriptor that is closed afterwards. */
export function withOpen<R>(fd: number, body: (fd: number) => R): R {
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

/** Opens a directory below `root`, made with its parents where it is missing. @throws {KernelError} */
export function openDirectory(root: number, path: string): number {
  try {
    return openInRoot(root, path, directoryFlags);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || path === "/") throw error;
  }
  withOpen(openDirectory(root, posix.dirname(path)), (parent) => {
    try {
      mkdirSync(entryOf(parent, posix.basename(path)), 0o755);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  });
  return openInRoot(root, path, directoryFlags);
}

/**
 * A path as the user typed it, from the root on. `/` and `/.` at its end count: they follow a link, and the second asks
 * for what is in a directory without the directory (moby pkg/archive/copy.go, PreserveTrailingDotOrSeparator).
 */
export function absolutePath(path: string): string {
  const clean = posix.join("/", path).replace(/(?<=.)\/$/, "");
  const last = path.split("/").at(-1);
  if (last === ".") return clean === "/" ? "/." : `${clean}/.`;
  return last === "" && clean !== "/" ? `${clean}/` : clean;
}

/** The last part: "." of `/a/.`, "a" of `/a/`, "/" of `/` (Go, path/filepath.Base). */
export const baseOf = (path: string): string => path.replace(/\/+$/, "").split("/").at(-1) || "/";

/** Where a path leads when every link is followed, as far as there is something. @throws {KernelError} ELOOP */
export function finalPath(root: number, path: string): string {
  const rest = path.split("/");
  let at: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const part = rest.shift() ?? "";
    if (part === "" || part === ".") continue;
    if (part === "..") {
      at.pop();
      continue;
    }
    const target = linkAt(root, `/${[...at, part].join("/")}`);
    if (target === undefined) {
      at.push(part);
      continue;
    }
    links += 1;
    if (links > mostLinks) throw Object.assign(new Error(`${path}: too many links`), { code: "ELOOP" });
    if (target.startsWith("/")) at = [];
    rest.unshift(...target.split("/"));
  }
  return `/${at.join("/")}`;
}

function linkAt(root: number, path: string): string | undefined {
  try {
    return withOpen(openItself(root, path), (fd) => (fstatSync(fd).isSymbolicLink() ? readLinkOf(fd) : undefined));
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Opens what is at a path of `absolutePath`: a link at its end itself. The caller closes it. @throws {KernelError} ENOENT, ENOTDIR */
export const openItself = (root: number, path: string): number =>
  openInRoot(root, path, pathOnly | constants.O_NOFOLLOW);

/** What `openItself` opened. */
export function statOpened(root: number, path: string, fd: number): PathStat {
  const stats = fstatSync(fd, { bigint: true });
  return {
    name: baseOf(path),
    size: Number(stats.size),
    mode: goMode(stats),
    mtime: timeText(stats.mtimeNs),
    linkTarget: stats.isSymbolicLink() ? finalPath(root, path) : "",
  };
}

/** Go's os.FileMode: its bits for kinds and for setuid, setgid and sticky are not stat(2)'s. */
export function goMode(stats: BigIntStats): number {
  const bits: readonly [boolean, number][] = [
    [stats.isDirectory(), 31],
    [stats.isSymbolicLink(), 27],
    [stats.isBlockDevice() || stats.isCharacterDevice(), 26],
    [stats.isFIFO(), 25],
    [stats.isSocket(), 24],
    [(stats.mode & 0o4000n) !== 0n, 23],
    [(stats.mode & 0o2000n) !== 0n, 22],
    [stats.isCharacterDevice(), 21],
    [(stats.mode & 0o1000n) !== 0n, 20],
  ];
  return bits.reduce((mode, [set, bit]) => (set ? mode + 2 ** bit : mode), Number(stats.mode & 0o777n));
}

/** RFC 3339 with nanoseconds where there are some, as Go writes times. */
function timeText(nanoseconds: bigint): string {
  const seconds = new Date(Number(nanoseconds / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = String(nanoseconds % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return fraction === "" ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}
