import type { Mount } from "../../model/container.ts";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { type CreateBody, createBody } from "./create-body.ts";
import { readVolumesFrom, volumesToCreate } from "./mounts.ts";
import { readCreateBody } from "./wire.ts";

/** `POST /containers/create` */
export async function createContainer(call: Call): Promise<Reply> {
  const { engine, query, version } = call;
  const body = await withIds(call, await readBody(call.request, createBody));
  const { request, warnings } = readCreateBody(body, {
    name: query.get("name") ?? "",
    platform: version >= 41 ? (query.get("platform") ?? "") : "",
    version,
    mountsOfOthers: await mountsOfOthers(call, body),
  });
  for (const volume of volumesToCreate(body.HostConfig ?? {}))
    await engine.volumes.create({ driver: "local", ...volume });
  const made = await engine.containers.create(request);
  return json({ Id: made.id, Warnings: [...made.warnings, ...warnings] }, 201);
}

/** A container that is shared with is kept by its id, since names change. */
async function withIds({ engine }: Call, body: CreateBody): Promise<CreateBody> {
  if (!body.HostConfig) return body;
  const host = { ...body.HostConfig };
  for (const field of ["NetworkMode", "PidMode", "IpcMode"] as const) {
    const name = /^container:(.+)$/.exec(host[field] ?? "")?.[1];
    if (name !== undefined) host[field] = `container:${(await engine.containers.inspect(name)).container.id}`;
  }
  return { ...body, HostConfig: host };
}

async function mountsOfOthers({ engine }: Call, body: CreateBody): Promise<Mount[]> {
  const found: Mount[] = [];
  for (const text of body.HostConfig?.VolumesFrom ?? []) {
    const { name, readOnly } = readVolumesFrom(text);
    const { spec } = (await engine.containers.inspect(name)).container;
    found.push(
      ...spec.mounts
        .filter((mount) => mount.type !== "tmpfs")
        .map((mount) => ({ ...mount, readOnly: readOnly || mount.readOnly, copy: false })),
    );
  }
  return found;
}
