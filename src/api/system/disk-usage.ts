import type { Image } from "../../runtime/runtime.ts";
import { type Call, json, type Reply } from "../call.ts";
import { summaryJson } from "../containers/list.ts";
import { imageSummaryJson } from "../images/wire.ts";
import { volumeJson } from "../volumes/volumes.ts";

/** `GET /system/df`. What a volume holds is not counted: its size is -1, which clients show as unknown. */
export async function showDiskUsage({ engine, query, version }: Call): Promise<Reply> {
  const types = query.getAll("type");
  const wanted = (type: string) => types.length === 0 || types.includes(type);
  const images = await engine.images.list();
  const containers = await engine.containers.list(new Map(), { all: true, limit: 0 });
  const users = (id: string) => containers.filter((c) => c.container.spec.imageId === id).length;
  const layers = layersOfAll(images);
  const now = Date.now();
  return json({
    LayersSize: [...layers.values()].reduce((sum, { size }) => sum + size, 0),
    Images: wanted("image")
      ? images.map((image) => ({
          ...imageSummaryJson(image, version),
          Containers: users(image.id),
          SharedSize: sharedSize(image, layers),
        }))
      : null,
    Containers: wanted("container") ? containers.map((c) => summaryJson(c, version, now)) : null,
    Volumes: wanted("volume")
      ? engine.volumes
          .list(new Map())
          .map((v) => ({ ...volumeJson(v), UsageData: { RefCount: v.users.length, Size: -1 } }))
      : null,
    BuildCache: wanted("build-cache") ? [] : null,
    ...(version < 42 && { BuilderSize: 0 }),
  });
}

/** A layer stands on those below it: the same one elsewhere is another. */
type Layers = ReadonlyMap<string, { readonly size: number; readonly images: number }>;
const keysOf = ({ layers }: Image) => layers.map((_layer, at) => layers.slice(0, at + 1).join());

function layersOfAll(images: readonly Image[]): Layers {
  const found = new Map<string, { size: number; images: number }>();
  for (const image of images)
    for (const [at, key] of keysOf(image).entries())
      found.set(key, { size: image.layerSizes[at] ?? 0, images: (found.get(key)?.images ?? 0) + 1 });
  return found;
}

/** Bytes that would stay if the image went. Clients take what is left of an image in use for what cannot be reclaimed. */
function sharedSize(image: Image, layers: Layers): number {
  const shared = keysOf(image)
    .map((key) => layers.get(key))
    .filter((layer) => (layer?.images ?? 0) > 1);
  return shared.reduce((sum, layer) => sum + (layer?.size ?? 0), 0);
}
