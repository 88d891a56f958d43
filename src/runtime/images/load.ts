import { posix } from "node:path";
import { Readable } from "node:stream";
import { extract } from "tar-stream";
import { invalid } from "../../lib/errors.ts";
import type { ContainerdClient } from "../containerd/client.ts";
import type { OnProgress } from "../runtime.ts";
import { type Descriptor, writeBlob } from "./content.ts";
import { type ConfigDocument, type ImageStore, type Manifest, mediaTypes } from "./image-store.ts";
import { familiar, fullName, parseReference } from "./reference.ts";
import { decompressed, readFile, type SpooledFile, Spool } from "./spool.ts";
import { unpackLayer, writeImage } from "./unpack.ts";

/** The files of an archive by their names; a link has its target's. */
type Files = ReadonlyMap<string, SpooledFile>;
interface Wanted {
  readonly config: SpooledFile;
  readonly layers: readonly SpooledFile[];
  readonly names: readonly string[];
}
const largestDocument = 4 << 20; // bytes of manifest.json, index.json or a configuration

/** Loads every image of a `docker save` or OCI archive. @throws {EngineError} invalid for an archive that is neither */
export async function loadArchive(
  parts: { readonly client: ContainerdClient; readonly store: ImageStore },
  archive: AsyncIterable<Uint8Array>,
  spool: Spool,
  lease: string,
  onProgress: OnProgress,
): Promise<void> {
  const files = await readTar(archive, spool);
  for (const wanted of await wantedImages(files)) {
    const config = await document(wanted.config);
    const diffIds = (JSON.parse(config.toString("utf8")) as ConfigDocument).rootfs?.diff_ids ?? [];
    if (diffIds.length !== wanted.layers.length)
      throw invalid(
        `invalid archive: the configuration names ${diffIds.length} layers, the manifest ${wanted.layers.length}`,
      );
    const layers: Descriptor[] = [];
    for (const [at, file] of wanted.layers.entries()) {
      const descriptor = layerDescriptor(file);
      await writeBlob(parts.client, descriptor, readFile(file.path), {}, lease);
      await unpackLayer(parts.client, descriptor, diffIds, at, lease);
      layers.push(descriptor);
    }
    const target = await writeImage(parts.client, config, layers, lease);
    const names = wanted.names.map((name) => fullName(parseReference(name)));
    for (const name of names) {
      await parts.store.name(name, target);
      onProgress({ stream: `Loaded image: ${familiar(name)}\n` });
    }
    if (names.length === 0) {
      await parts.store.nameDangling(target);
      onProgress({ stream: `Loaded image ID: ${wanted.config.digest}\n` });
    }
  }
}

export const layerDescriptor = ({ digest, size, compression }: SpooledFile): Descriptor => ({
  mediaType: compression === "" ? mediaTypes.layer : `${mediaTypes.layer}+${compression}`,
  digest,
  size,
});

async function readTar(archive: AsyncIterable<Uint8Array>, spool: Spool): Promise<Files> {
  const files = new Map<string, SpooledFile>();
  const links: [string, string][] = [];
  const tar = extract();
  Readable.from(decompressed(archive), { objectMode: false })
    .on("error", (error) => tar.destroy(error))
    .pipe(tar);
  try {
    for await (const entry of tar) {
      const { name, type, linkname } = entry.header;
      const path = posix.normalize(name);
      if (type === "file") files.set(path, await spool.write(entry as unknown as AsyncIterable<Uint8Array>));
      else if (type === "symlink" && linkname) links.push([path, posix.join(posix.dirname(path), linkname)]);
      else if (type === "link" && linkname) links.push([path, posix.normalize(linkname)]);
      entry.resume();
    }
  } catch (error) {
    throw invalid(`invalid tar header or archive: ${(error as Error).message}`);
  }
  for (const [path, target] of links) {
    const file = files.get(target);
    if (file !== undefined) files.set(path, file);
  }
  return files;
}

async function document(file: SpooledFile): Promise<Buffer> {
  if (file.size > largestDocument) throw invalid("invalid archive: a manifest or configuration is too large");
  const chunks: Uint8Array[] = [];
  for await (const chunk of readFile(file.path)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function parsed<T>(file: SpooledFile): Promise<T> {
  try {
    return JSON.parse((await document(file)).toString("utf8")) as T;
  } catch (error) {
    throw invalid(`invalid archive: ${(error as Error).message}`);
  }
}

async function wantedImages(files: Files): Promise<Wanted[]> {
  const saved = files.get("manifest.json");
  if (saved !== undefined) {
    const entries = await parsed<{ Config: string; RepoTags?: string[] | null; Layers: string[] }[]>(saved);
    return entries.map(({ Config, RepoTags, Layers }) => ({
      config: fileOf(files, Config),
      layers: Layers.map((layer) => fileOf(files, layer)),
      names: RepoTags ?? [],
    }));
  }
  const index = files.get("index.json");
  if (index === undefined) throw invalid("invalid archive: it has neither manifest.json nor index.json");
  const { manifests } = await parsed<{ manifests: (Descriptor & { annotations?: Record<string, string> })[] }>(index);
  return Promise.all(
    manifests.map(async ({ digest, annotations = {} }) => {
      const { config, layers } = await parsed<Manifest>(fileOf(files, blobPath(digest)));
      const name = annotations["io.containerd.image.name"];
      return {
        config: fileOf(files, blobPath(config.digest)),
        layers: layers.map((layer) => fileOf(files, blobPath(layer.digest))),
        names: name === undefined ? [] : [name],
      };
    }),
  );
}

const blobPath = (digest: string) => `blobs/${digest.replace(":", "/")}`;

function fileOf(files: Files, name: string): SpooledFile {
  const file = files.get(posix.normalize(name));
  if (file === undefined) throw invalid(`invalid archive: it has no file ${name}`);
  return file;
}
