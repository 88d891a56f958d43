import { z } from "zod";
import type { Filters, VolumeDetail } from "../../engine/engine.ts";
import { readBody } from "../body.ts";
import { type Call, empty, json, type Reply } from "../call.ts";
import { flag, param, readFilters } from "../query.ts";
import { text, textMap } from "../schemas.ts";

const createBody = z.looseObject({ Name: text, Driver: text, DriverOpts: textMap, Labels: textMap });

/** A volume as list and inspect show it (fields in Docker's order). */
export function volumeJson({ volume, mountpoint }: VolumeDetail): object {
  return {
    CreatedAt: volume.createdAt,
    Driver: "local",
    Labels: Object.keys(volume.labels).length > 0 ? volume.labels : null,
    Mountpoint: mountpoint,
    Name: volume.name,
    Options: Object.keys(volume.options).length > 0 ? volume.options : null,
    Scope: "local",
  };
}

/** `GET /volumes` */
export function listVolumes({ engine, query }: Call): Reply {
  return json({ Volumes: engine.volumes.list(readFilters(query)).map(volumeJson), Warnings: null });
}

/** `GET /volumes/{name}` */
export const inspectVolume = (call: Call): Reply => json(volumeJson(call.engine.volumes.inspect(param(call, "name"))));

/** `POST /volumes/create` */
export async function createVolume({ engine, request }: Call): Promise<Reply> {
  const body = await readBody(request, createBody);
  const made = await engine.volumes.create({
    name: body.Name ?? "",
    driver: body.Driver || "local",
    labels: body.Labels ?? {},
    options: body.DriverOpts ?? {},
  });
  return json(volumeJson(made), 201);
}

/** `DELETE /volumes/{name}` */
export async function removeVolume(call: Call): Promise<Reply> {
  await call.engine.volumes.remove(param(call, "name"), flag(call.query, "force"));
  return empty();
}

/** `POST /volumes/prune`; before API 1.42 named volumes went too. */
export async function pruneVolumes({ engine, query, version }: Call): Promise<Reply> {
  const filters: Filters = version < 42 ? new Map([...readFilters(query), ["all", ["true"]]]) : readFilters(query);
  const { names, freed } = await engine.volumes.prune(filters);
  return json({ VolumesDeleted: names.length > 0 ? names : null, SpaceReclaimed: freed });
}
