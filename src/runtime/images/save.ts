import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import type { ContainerdClient } from "../containerd/client.ts";
import { readBlob } from "./content.ts";
import type { ImageStore } from "./image-store.ts";
import { familiar } from "./reference.ts";

/** Writes a `docker save` archive: blobs by digest, and manifest.json that says what they are. */
export async function* saveArchive(
  client: ContainerdClient,
  store: ImageStore,
  references: readonly string[],
): AsyncIterable<Uint8Array> {
  const records = await store.records();
  const wanted = await Promise.all(
    references.map(async (reference) => ({ reference, id: await store.find(reference) })),
  );
  const tar = pack();
  const write = async () => {
    const written = new Set<string>();
    const blob = async (digest: string, size: number) => {
      const path = `blobs/${digest.replace(":", "/")}`;
      if (written.has(digest)) return path;
      written.add(digest);
      const entry = tar.entry({ name: path, size });
      await pipeline(Readable.from(readBlob(client, digest)), entry as unknown as Writable);
      return path;
    };
    const entries = [];
    for (const id of new Set(wanted.map((w) => w.id))) {
      const own = records.filter((r) => r.imageId === id);
      const target = own[0]?.target;
      if (target === undefined) continue;
      const manifest = await store.manifest(target.digest);
      const named = wanted.filter((w) => w.id === id && !/^(sha256:)?[0-9a-f]+$/.test(w.reference));
      const tags = named.map(({ reference }) => (/:[^/]+$/.test(reference) ? reference : `${reference}:latest`));
      entries.push({
        Config: await blob(manifest.config.digest, Number(manifest.config.size)),
        RepoTags: tags.map(familiar),
        Layers: manifest.layers.map((l) => `blobs/${l.digest.replace(":", "/")}`),
      });
      for (const layer of manifest.layers) await blob(layer.digest, Number(layer.size));
    }
    tar.entry({ name: "manifest.json" }, JSON.stringify(entries));
    tar.finalize();
  };
  write().catch((error: unknown) => tar.destroy(error as Error));
  yield* tar as AsyncIterable<Uint8Array>;
}
