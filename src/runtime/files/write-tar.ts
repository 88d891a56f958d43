import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  write,
  type Stats,
} from "node:fs";
import { posix } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { type Extract, extract, type Header } from "tar-stream";
import { deviceNumber, directoryFlags, makeNode, openInRoot, pathOnly } from "../../kernel/files.ts";
import { EngineError, invalid } from "../../lib/errors.ts";
import { decompressed } from "../images/spool.ts";
import { codeOf, entryOf, openDirectory, pathOf, withOpen } from "./paths.ts";

const writeChunk = promisify(write);
const nodes = { fifo: constants.S_IFIFO, "block-device": constants.S_IFBLK, "character-device": constants.S_IFCHR };

export interface WriteOptions {
  /** A directory is not replaced by anything else, nor anything else by a directory. */
  readonly noOverwriteDirNonDir: boolean;
  /** Whose everything shall be, instead of whose the archive says. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}
type Entry = Extract extends AsyncIterable<infer E> ? E : never;
interface Place {
  readonly root: number;
  /** The directory that is unpacked into, from the root on. */
  readonly directory: string;
  readonly options: WriteOptions;
}

/**
 * Unpacks a tar, plain or compressed, into a directory. Each entry's parent is looked up below `root` anew, and what is
 * done is done to entries of that open directory: whatever the container changes meanwhile, nothing leads out of it.
 * @param directory from `root` on; it is there @throws {EngineError} invalid, Docker's texts; {KernelError} and Node's errors
 */
export async function writeTar(
  root: number,
  directory: string,
  archive: AsyncIterable<Uint8Array>,
  options: WriteOptions,
  signal: AbortSignal,
): Promise<void> {
  const place: Place = { root, directory, options };
  const tar = extract();
  const stop = () => tar.destroy(signal.reason as Error);
  signal.throwIfAborted();
  signal.addEventListener("abort", stop);
  Readable.from(decompressed(archive), { objectMode: false })
    .on("error", (error) => tar.destroy(error))
    .pipe(tar);
  const directories: { readonly path: string; readonly header: Header }[] = [];
  try {
    for await (const found of tar) {
      const { header } = found;
      const path = placeOf(place, header.name);
      await writeEntry(place, path, found);
      if (header.type === "directory") directories.push({ path, header });
      found.resume();
    }
  } catch (error) {
    throw error instanceof EngineError || codeOf(error) !== undefined
      ? error
      : invalid(`the archive cannot be unpacked: ${(error as Error).message}`);
  } finally {
    signal.removeEventListener("abort", stop);
  }
  // What was put into a directory changed its time.
  for (const { path, header } of directories) setDirectoryTime(root, path, header);
}

function placeOf({ directory }: Place, name: string): string {
  const clean = posix.normalize(name);
  if (clean === ".." || clean.startsWith("../"))
    throw invalid(`${JSON.stringify(name)} is outside of ${JSON.stringify(directory)}`);
  return posix.join(directory, clean).replace(/(?<=.)\/$/, "");
}

async function writeEntry(place: Place, path: string, found: Entry): Promise<void> {
  const { header } = found;
  if (path === posix.join(place.directory, ".").replace(/(?<=.)\/$/, "")) {
    if (header.type !== "directory") throw invalid(`${JSON.stringify(header.name)} is no name for a file`);
    return; // the directory itself stays as it is
  }
  const parent = openDirectory(place.root, posix.dirname(path));
  try {
    const name = posix.basename(path);
    if (makeRoom(place, parent, name, path, header)) await make(place, parent, name, found);
    setAttributes(place, parent, name, header);
  } finally {
    closeSync(parent);
  }
}

/** Removes what is in the way. @returns false for a directory that is there already: what it holds stays */
function makeRoom({ options, directory }: Place, parent: number, name: string, path: string, header: Header): boolean {
  const old = lstatSync(entryOf(parent, name), { throwIfNoEntry: false });
  if (old === undefined) return true;
  const wanted = header.type === "directory";
  if (options.noOverwriteDirNonDir && old.isDirectory() !== wanted)
    throw invalid(
      wanted
        ? `cannot overwrite non-directory ${JSON.stringify(path)} with directory ${JSON.stringify(directory)}`
        : `cannot overwrite directory ${JSON.stringify(path)} with non-directory ${JSON.stringify(directory)}`,
    );
  if (old.isDirectory() && wanted) return false;
  removeTree(parent, name, old);
  return true;
}

function removeTree(parent: number, name: string | Buffer, stats: Stats | undefined): void {
  const path = entryOf(parent, name);
  if (!stats?.isDirectory()) return unlinkSync(path);
  withOpen(openSync(path, directoryFlags | constants.O_NOFOLLOW), (fd) => {
    for (const child of readdirSync(pathOf(fd), { encoding: "buffer" }))
      removeTree(fd, child, lstatSync(entryOf(fd, child), { throwIfNoEntry: false }));
  });
  rmdirSync(path);
}

async function make(place: Place, parent: number, name: string, found: Entry): Promise<void> {
  const { type, linkname, devmajor, devminor } = found.header;
  const path = entryOf(parent, name);
  switch (type) {
    case "directory":
      return mkdirSync(path, 0o700);
    case "symlink":
      return symlinkSync(linkname ?? "", path);
    case "link": {
      const target = placeOf(place, linkname ?? "");
      return withOpen(openInRoot(place.root, posix.dirname(target), directoryFlags), (fd) =>
        linkSync(entryOf(fd, posix.basename(target)), path),
      );
    }
    case "fifo":
    case "block-device":
    case "character-device":
      return makeNode(path.toString(), nodes[type] | 0o600, deviceNumber(devmajor ?? 0, devminor ?? 0));
    case "file":
    case "contiguous-file":
      return writeFile(path, found);
    default:
      throw invalid(`${JSON.stringify(found.header.name)}: unhandled tar header type ${type ?? ""}`);
  }
}

async function writeFile(path: Buffer, found: Entry): Promise<void> {
  const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  try {
    for await (const chunk of found as unknown as AsyncIterable<Uint8Array>)
      for (let at = 0; at < chunk.length; )
        at += (await writeChunk(fd, chunk, at, chunk.length - at, null)).bytesWritten;
  } finally {
    closeSync(fd);
  }
}

/** Owner first: a change of it takes setuid away (chown(2)). */
function setAttributes({ options }: Place, parent: number, name: string, header: Header): void {
  if (header.type === "link") return; // they are those of the file that it names
  const path = entryOf(parent, name);
  const { uid, gid } = options.owner ?? idsOf(header);
  lchownSync(path, uid, gid);
  const time = timeOf(header);
  if (header.type === "symlink") return lutimesSync(path, time, time);
  withOpen(openSync(path, pathOnly | constants.O_NOFOLLOW), (fd) => {
    if (fstatSync(fd).isSymbolicLink()) return; // swapped meanwhile
    chmodSync(pathOf(fd), (header.mode ?? 0o644) & 0o7777);
    utimesSync(pathOf(fd), time, time);
  });
}

function setDirectoryTime(root: number, path: string, header: Header): void {
  try {
    const time = timeOf(header);
    withOpen(openInRoot(root, path, directoryFlags | constants.O_NOFOLLOW), (fd) => utimesSync(pathOf(fd), time, time));
  } catch (error) {
    // A later entry, or the container, put something else there.
    if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw error;
  }
}

const paxOf = (header: Header, key: string): number | undefined => {
  const text = (header.pax as Readonly<Record<string, string>> | null | undefined)?.[key];
  return text === undefined || !/^-?\d+(\.\d+)?$/.test(text) ? undefined : Number(text);
};
const idsOf = (header: Header) => ({
  uid: paxOf(header, "uid") ?? header.uid ?? 0,
  gid: paxOf(header, "gid") ?? header.gid ?? 0,
});
/** Seconds since 1970. */
const timeOf = (header: Header) => paxOf(header, "mtime") ?? (header.mtime ?? new Date()).getTime() / 1000;
