import { createHash } from "node:crypto";
import { invalid, notFound } from "../../lib/errors.ts";
import { snapshotter, type ContainerdClient, unlessMissing } from "../containerd/client.ts";
import type { OnProgress } from "../runtime.ts";
import { type Descriptor, hasBlob, sha256, writeBlob } from "./content.ts";
import { chainIds, type ConfigDocument, type Manifest, platformOf } from "./image-store.ts";
import { fits, type Platform, platformText, readPlatform } from "./platform.ts";
import type { Repository } from "./registry.ts";
import { unpackLayer, writeImage } from "./unpack.ts";

const atOnce = 3; // layers on their way together, as dockerd does
const progressEvery = 100; // milliseconds
const largestConfig = 4 << 20; // bytes

interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
}

/** Fetches one image of a repository, with everything that it needs. @returns its manifest, as containerd has it now */
export async function pullImage(
  client: ContainerdClient,
  repository: Repository,
  { path, which, platform }: { readonly path: string; readonly which: string; readonly platform?: string },
  lease: string,
  onProgress: OnProgress,
): Promise<{ readonly target: Descriptor; readonly digest: string }> {
  const first = await repository.manifest(which);
  const digest = sha256(first.bytes);
  if (which.startsWith("sha256:") && which !== digest)
    throw invalid(`manifest verification failed for digest ${which}`);
  onProgress({ status: `Pulling from ${path}`, id: which });
  const chosen = await choosePlatform(repository, first, platform);
  const manifest = JSON.parse(chosen.bytes.toString("utf8")) as Manifest;
  const config = await readConfig(repository, manifest.config);
  const document = JSON.parse(config.toString("utf8")) as ConfigDocument;
  if (platform !== undefined) checkPlatform(document, platform, `${path}:${which}`);
  const diffIds = document.rootfs?.diff_ids ?? [];
  if (diffIds.length !== manifest.layers.length)
    throw invalid("the image's configuration and manifest do not agree on the layers");
  await fetchLayers(client, repository, manifest.layers, diffIds, lease, onProgress);
  const target = await writeImage(client, config, manifest.layers, lease, {
    manifest: chosen.bytes,
    mediaType: chosen.mediaType,
  });
  return { target, digest };
}

async function choosePlatform(
  repository: Repository,
  first: { readonly bytes: Buffer; readonly mediaType: string },
  text: string | undefined,
): Promise<{ readonly bytes: Buffer; readonly mediaType: string }> {
  const list = JSON.parse(first.bytes.toString("utf8")) as { manifests?: readonly IndexEntry[] };
  if (list.manifests === undefined) return first;
  const wanted = readPlatform(text);
  const entry = list.manifests.find(({ platform }) => platform !== undefined && fits(platform, wanted));
  if (entry === undefined)
    throw notFound(`no matching manifest for ${platformText(wanted)} in the manifest list entries`);
  const found = await repository.manifest(entry.digest);
  if (sha256(found.bytes) !== entry.digest) throw invalid(`manifest verification failed for digest ${entry.digest}`);
  return found;
}

/** A repository may hold an image for one platform alone, without a list. @throws {EngineError} not-found, Docker's text */
function checkPlatform(document: ConfigDocument, text: string, name: string): void {
  const wanted = readPlatform(text);
  const actual = platformOf(document);
  if (!fits(actual, wanted))
    throw notFound(
      `image with reference ${name} was found but does not match the specified platform: wanted ${platformText(wanted)}, actual: ${platformText(actual)}`,
    );
}

/** @throws {EngineError} invalid for what is too large, or something else than its digest says */
export async function readConfig(repository: Repository, { digest, size }: Descriptor): Promise<Buffer> {
  if (size > largestConfig) throw invalid("the image's configuration is too large");
  const chunks: Uint8Array[] = [];
  for await (const chunk of await repository.blob(digest)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (sha256(bytes) !== digest) throw invalid(`filesystem layer verification failed for digest ${digest}`);
  return bytes;
}

/** Downloads a few at a time and unpacks them one after the other, from the lowest up. */
async function fetchLayers(
  client: ContainerdClient,
  repository: Repository,
  layers: readonly Descriptor[],
  diffIds: readonly string[],
  lease: string,
  onProgress: OnProgress,
): Promise<void> {
  const chain = chainIds(diffIds);
  const short = (layer: Descriptor) => layer.digest.slice("sha256:".length, "sha256:".length + 12);
  const there = await Promise.all(
    layers.map(
      async (layer, at) =>
        (await unlessMissing(client.snapshots.stat({ snapshotter, key: chain[at] ?? "" }))) !== undefined &&
        hasBlob(client, layer.digest),
    ),
  );
  layers.forEach((layer, at) =>
    onProgress({ status: there[at] ? "Already exists" : "Pulling fs layer", progressDetail: {}, id: short(layer) }),
  );
  const downloads = layers.map(() => Promise.withResolvers<void>());
  const queue = [...layers.keys()].filter((at) => !there[at]);
  const worker = async () => {
    for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
      const layer = layers[at] as Descriptor;
      await download(client, repository, layer, lease, (detail) => onProgress({ ...detail, id: short(layer) }));
      downloads[at]?.resolve();
    }
  };
  const workers = Promise.all(Array.from({ length: atOnce }, worker));
  const unpack = async () => {
    for (const [at, layer] of layers.entries()) {
      if (there[at]) continue;
      await downloads[at]?.promise;
      onProgress({
        status: "Extracting",
        progressDetail: { current: layer.size, total: layer.size },
        id: short(layer),
      });
      await unpackLayer(client, layer, diffIds, at, lease);
      onProgress({ status: "Pull complete", progressDetail: {}, id: short(layer) });
    }
  };
  const unpacking = unpack();
  await Promise.race([workers.then(() => unpacking), unpacking]);
  await unpacking;
}

async function download(
  client: ContainerdClient,
  repository: Repository,
  layer: Descriptor,
  lease: string,
  tell: (progress: { status: string; progressDetail: { current?: number; total?: number } }) => void,
): Promise<void> {
  const data = await repository.blob(layer.digest);
  const hash = createHash("sha256");
  async function* counted() {
    let current = 0;
    let last = 0;
    for await (const chunk of data) {
      hash.update(chunk);
      current += chunk.length;
      if (current > layer.size) throw invalid(`layer ${layer.digest} is longer than its manifest says`);
      if (Date.now() - last > progressEvery) {
        last = Date.now();
        tell({ status: "Downloading", progressDetail: { current, total: layer.size } });
      }
      yield chunk;
    }
    tell({ status: "Verifying Checksum", progressDetail: {} });
    if (`sha256:${hash.digest("hex")}` !== layer.digest)
      throw invalid(`filesystem layer verification failed for digest ${layer.digest}`);
  }
  await writeBlob(client, layer, counted(), {}, lease);
  tell({ status: "Download complete", progressDetail: {} });
}
