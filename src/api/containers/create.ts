import { EngineError, invalid } from "../../lib/errors.ts";
import type { Container, Mount } from "../../model/container.ts";
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
    await engine.volumes.create({ driver: "local", options: {}, ...volume });
  const made = await engine.containers.create(request);
  return json({ Id: made.id, Warnings: [...made.warnings, ...warnings] }, 201);
}

const shared = { NetworkMode: "network", PidMode: "PID", IpcMode: "IPC" } as const;

/** A container that is shared with is kept by its id, since names change. */
async function withIds(call: Call, body: CreateBody): Promise<CreateBody> {
  if (!body.HostConfig) return body;
  const host = { ...body.HostConfig };
  for (const [field, kind] of Object.entries(shared) as [keyof typeof shared, string][]) {
    const name = /^container:(.+)$/.exec(host[field] ?? "")?.[1];
    if (name === undefined) continue;
    host[field] = `container:${(await other(call, name, `joining ${kind} namespace of container: `)).id}`;
  }
  return { ...body, HostConfig: host };
}

/** Another container that the request names. Clients would take a 404 for a missing image, and pull it. */
async function other({ engine }: Call, name: string, context: string): Promise<Container> {
  try {
    return (await engine.containers.inspect(name)).container;
  } catch (error) {
    if (error instanceof EngineError && error.class === "not-found") throw invalid(`${context}${error.message}`);
    throw error;
  }
}

async function mountsOfOthers(call: Call, body: CreateBody): Promise<Mount[]> {
  const found: Mount[] = [];
  for (const text of body.HostConfig?.VolumesFrom ?? []) {
    const { name, readOnly } = readVolumesFrom(text);
    const { spec } = await other(call, name, "");
    found.push(
      ...spec.mounts
        .filter((mount) => mount.type !== "tmpfs")
        .map((mount) => ({ ...mount, readOnly: readOnly || mount.readOnly, copy: false })),
    );
  }
  return found;
}
