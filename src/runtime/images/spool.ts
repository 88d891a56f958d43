import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { invalid } from "../../lib/errors.ts";

/** A blob of an archive, on disk until containerd has it. */
export interface SpooledFile {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly compression: "" | "gzip" | "zstd";
}

/** A directory for what an archive brings, gone when `body` is done. */
export async function withSpool<R>(dataRoot: string, body: (spool: Spool) => Promise<R>): Promise<R> {
  const parent = join(dataRoot, "tmp");
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(parent, "archive-"));
  try {
    return await body(new Spool(directory));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export class Spool {
  readonly #directory: string;
  #files = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes a blob to disk; its name there is ours, whatever the archive calls it. */
  async write(data: AsyncIterable<Uint8Array>): Promise<SpooledFile> {
    const path = join(this.#directory, String(this.#files++));
    const hash = createHash("sha256");
    let size = 0;
    async function* counted() {
      for await (const chunk of data) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    }
    await pipeline(counted, createWriteStream(path, { mode: 0o600 }));
    return { path, size, digest: `sha256:${hash.digest("hex")}`, compression: compressionOf(await head(path)) };
  }
}

async function head(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc(6);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function compressionOf(bytes: Buffer): SpooledFile["compression"] {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip";
  if (bytes.length >= 4 && bytes.readUInt32LE(0) === 0xfd2fb528) return "zstd";
  if (bytes.toString("latin1").startsWith("BZh"))
    throw invalid("the archive is compressed with bzip2: gzip, zstd and plain tar are read");
  if (bytes.toString("latin1", 1, 5) === "7zXZ")
    throw invalid("the archive is compressed with xz: gzip, zstd and plain tar are read");
  return "";
}

export const readFile = (path: string): AsyncIterable<Uint8Array> => createReadStream(path);

/** The archive without its compression, told by its first bytes. */
export async function* decompressed(archive: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const chunks = archive[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  while (start.length < 6) {
    const { value, done } = await chunks.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  async function* whole() {
    if (start.length > 0) yield start;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  }
  const compression = compressionOf(start);
  if (compression === "") yield* whole();
  else
    yield* Readable.from(whole(), { objectMode: false }).compose(
      compression === "gzip" ? createGunzip() : createZstdDecompress(),
    ) as AsyncIterable<Uint8Array>;
}
