import { once } from "node:events";
import { closeSync, constants, fstatSync, openSync, read, readdirSync, type Stats } from "node:fs";
import { promisify } from "node:util";
import { type Header, pack } from "tar-stream";
import { deviceParts, pathOnly, readLinkOf } from "../../kernel/files.ts";
import { codeOf, entryOf, pathOf } from "./paths.ts";

const readChunk = promisify(read);
const chunkSize = 256 << 10; // bytes
const mostLevels = 2048; // of directories: each is a descriptor
const largestId = 0o777777; // that the older header has room for
const end = Buffer.alloc(1024);

type Written = Pick<Header, "name"> & Partial<Header>;
/** What one archive has so far: a further name of a file is a link to its first. */
type Seen = Map<string, string>;

/** A tar of what is open at `fd`. @param name its own; "" for the root, whose files have names that begin with a slash */
export async function* readTar(fd: number, name: string): AsyncGenerator<Uint8Array, void> {
  yield* entry(fd, name, new Map(), 0);
  yield end;
}

/** A tar of everything in a directory, with names from there on: `bin/sh`. */
export async function* exportTar(fd: number): AsyncGenerator<Uint8Array, void> {
  yield* children(fd, "", new Map(), 0);
  yield end;
}

/** @param fd what it is, opened as a path; the caller closes it */
async function* entry(fd: number, name: string, seen: Seen, level: number): AsyncGenerator<Uint8Array, void> {
  const stats = fstatSync(fd);
  if (stats.isSocket()) return; // an archive has no word for it
  const header = headerOf(fd, name, stats, seen);
  yield await encoded(header);
  if (header.type === "file" && stats.isFile()) yield* content(fd, name, stats.size);
  if (stats.isDirectory()) yield* children(fd, `${name}/`, seen, level);
}

async function* children(fd: number, prefix: string, seen: Seen, level: number): AsyncGenerator<Uint8Array, void> {
  if (level >= mostLevels) throw new Error(`${prefix}: more than ${mostLevels} directories in one another`);
  const names = readdirSync(pathOf(fd), { encoding: "buffer" }).toSorted(Buffer.compare);
  for (const name of names) {
    const child = openedEntry(fd, name);
    if (child === undefined) continue;
    try {
      yield* entry(child, prefix + name.toString(), seen, level + 1);
    } finally {
      closeSync(child);
    }
  }
}

/** Undefined for what is gone since the directory was read. */
function openedEntry(directory: number, name: Buffer): number | undefined {
  try {
    return openSync(entryOf(directory, name), pathOnly | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function headerOf(fd: number, name: string, stats: Stats, seen: Seen): Written {
  const { uid, gid } = stats;
  const pax = { ...(uid > largestId && { uid: String(uid) }), ...(gid > largestId && { gid: String(gid) }) };
  const shared = {
    name,
    mode: stats.mode & 0o7777,
    uid,
    gid,
    mtime: new Date(Math.max(0, stats.mtimeMs)),
    ...(Object.keys(pax).length > 0 && { pax }),
  };
  if (stats.isDirectory()) return { ...shared, name: `${name}/`, type: "directory" };
  if (stats.isSymbolicLink()) return { ...shared, type: "symlink", linkname: readLinkOf(fd) };
  const key = `${stats.dev}:${stats.ino}`;
  const first = seen.get(key);
  if (first !== undefined) return { ...shared, type: "link", linkname: first };
  if (stats.nlink > 1) seen.set(key, name);
  if (stats.isFIFO()) return { ...shared, type: "fifo" };
  if (stats.isFile()) return { ...shared, type: "file", size: stats.size };
  const { major: devmajor, minor: devminor } = deviceParts(stats.rdev);
  const type = stats.isBlockDevice() ? "block-device" : "character-device";
  return { ...shared, type, devmajor, devminor };
}

/** The blocks before an entry's content. */
async function encoded(header: Written): Promise<Buffer> {
  const tar = pack();
  tar.entry(header, () => {}); // its content is not for this stream: the callback hears that it never came
  await once(tar, "readable");
  const blocks: Buffer[] = [];
  for (let block = tar.read() as Buffer | null; block !== null; block = tar.read() as Buffer | null) blocks.push(block);
  tar.destroy();
  return Buffer.concat(blocks);
}

/** A file's content as it was long when its header was written, filled up to whole blocks. */
async function* content(path: number, name: string, size: number): AsyncGenerator<Uint8Array, void> {
  const fd = openSync(pathOf(path), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    for (let left = size; left > 0; ) {
      const buffer = Buffer.allocUnsafe(Math.min(left, chunkSize));
      const { bytesRead } = await readChunk(fd, buffer, 0, buffer.length, null);
      if (bytesRead === 0) throw new Error(`${name} became shorter while it was read`);
      left -= bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    closeSync(fd);
  }
  if (size % 512 !== 0) yield Buffer.alloc(512 - (size % 512));
}
