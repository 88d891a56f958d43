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
  const now = Date.now();
  return json({
    LayersSize: images.reduce((sum, image) => sum + image.size, 0),
    Images: wanted("image")
      ? images.map((image) => ({ ...imageSummaryJson(image, version), Containers: users(image.id) }))
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
