import { mkdir, open, readdir, readFile, readlink, rename, rm, symlink } from "node:fs/promises";

/** The steps that the node's files are made of, so that a test can break off between any two. Paths are absolute. */
export interface Disk {
  /** Makes a directory that others cannot read, and those above it; no error when it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Makes a file of mode 0600; an error when it is there. */
  create(path: string, content: string | Uint8Array): Promise<void>;
  /** Makes what a file or directory holds survive a loss of power (fsync(2)). */
  sync(path: string): Promise<void>;
  link(target: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, link or directory with all that is in it; no error when it is not there. */
  remove(path: string): Promise<void>;
  read(path: string): Promise<Buffer>;
  /** @returns where a link points to; undefined when it is not there */
  target(path: string): Promise<string | undefined>;
  /** @returns the names in a directory; none when it is not there */
  list(path: string): Promise<readonly string[]>;
}

export const disk: Disk = {
  makeDirectory: async (path) => void (await mkdir(path, { recursive: true, mode: 0o700 })),
  async create(path, content) {
    await using file = await open(path, "wx", 0o600);
    await file.writeFile(content);
  },
  async sync(path) {
    await using file = await open(path, "r");
    await file.sync();
  },
  link: (target, path) => symlink(target, path),
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { recursive: true, force: true }),
  read: (path) => readFile(path),
  target: (path) => readlink(path).catch(absent<undefined>(undefined)),
  list: (path) => readdir(path).catch(absent<readonly string[]>([])),
};

function absent<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === "ENOENT") return value;
    throw error;
  };
}
