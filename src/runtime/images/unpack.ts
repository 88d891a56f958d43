import { randomUUID } from "node:crypto";
import { invalid } from "../../lib/errors.ts";
import { code, type ContainerdClient, detailsOf, hasCode, snapshotter } from "../containerd/client.ts";
import { type Descriptor, writeDocument } from "./content.ts";
import { chainIds, type ConfigDocument, type Manifest, mediaTypes } from "./image-store.ts";

async function hasSnapshot(client: ContainerdClient, key: string): Promise<boolean> {
  try {
    await client.snapshots.stat({ snapshotter, key });
    return true;
  } catch (error) {
    if (hasCode(error, code.notFound)) return false;
    throw error;
  }
}

/**
 * Unpacks one layer on top of those below it.
 * @param at its place, from 0, in `diffIds` @throws {EngineError} invalid when the layer is not what the configuration says
 */
export async function unpackLayer(
  client: ContainerdClient,
  layer: Descriptor,
  diffIds: readonly string[],
  at: number,
  lease: string,
): Promise<void> {
  const chain = chainIds(diffIds);
  const name = chain[at] ?? "";
  if (await hasSnapshot(client, name)) return;
  const key = `extract-${randomUUID()}`;
  const { mounts } = await client.snapshots.prepare({ snapshotter, key, parent: chain[at - 1] ?? "" }, { lease });
  try {
    const { applied } = await client.diff.apply({ diff: { ...layer, size: BigInt(layer.size) }, mounts }, { lease });
    if (applied?.digest !== diffIds[at])
      throw invalid(`layer ${layer.digest} unpacks to ${applied?.digest}, the image says ${diffIds[at]}`);
    await client.snapshots.commit({ snapshotter, name, key }, { lease });
  } catch (error) {
    await client.snapshots.remove({ snapshotter, key }).catch(() => {}); // the lease takes it away in any case
    if (hasCode(error, code.exists)) return; // another pull was quicker
    throw error instanceof Error && "details" in error
      ? invalid(`failed to register layer: ${detailsOf(error)}`)
      : error;
  }
}

/**
 * Writes configuration and manifest of an image whose layers are there, with the labels by which containerd's collector
 * finds what belongs to it (containerd docs/garbage-collection.md).
 * @returns the manifest's descriptor
 */
export async function writeImage(
  client: ContainerdClient,
  config: Uint8Array,
  layers: readonly Descriptor[],
  lease: string,
  received?: { readonly manifest: Uint8Array; readonly mediaType: string },
): Promise<Descriptor> {
  const document = JSON.parse(Buffer.from(config).toString("utf8")) as ConfigDocument;
  const top = chainIds(document.rootfs?.diff_ids ?? []).at(-1);
  const keeps = top === undefined ? {} : { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top };
  const written = await writeDocument(client, config, mediaTypes.config, keeps, lease);
  const labels = Object.fromEntries([
    ["containerd.io/gc.ref.content.config", written.digest],
    ...layers.map((layer, index) => [`containerd.io/gc.ref.content.l.${index}`, layer.digest]),
  ]);
  if (received !== undefined) return writeDocument(client, received.manifest, received.mediaType, labels, lease);
  const manifest: Manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config: written, layers };
  return writeDocument(client, Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest, labels, lease);
}
