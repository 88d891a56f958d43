import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { conflict, invalid, notFound } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Volume } from "../model/container.ts";
import type { Snapshot } from "../store/store.ts";
import type { Filters, VolumeDetail, Volumes } from "./engine.ts";
import { checkFilters, passesFilters, passesLabels } from "./filters.ts";
import type { Parts } from "./parts.ts";

const directory = (parts: Parts) => join(parts.settings.dataRoot, "volumes");

/** Where a volume's content lies on the host. */
export const volumePath = (parts: Parts, name: string) => join(directory(parts), name, "_data");

/** The verbs of `docker volume`: directories of this host, Docker's driver `local` without options. */
export function createVolumes(parts: Parts): Volumes {
  const rows = () => parts.store.snapshot();
  return {
    async create(request) {
      const name = request.name === "" ? randomBytes(32).toString("hex") : request.name;
      checkRequest(name, request);
      const { labels, options } = request;
      const anonymous = request.name === "";
      const row: Volume = { name, labels, options, anonymous, createdAt: new Date().toISOString() };
      const result = await makingVolumes(parts, [name], () => make(parts, row));
      failpoint("volume.create.after-store");
      publish(parts, "create", name);
      return detail(parts, rows(), result);
    },
    list(filters) {
      checkFilters(filters, ["dangling", "driver", "label", "label!", "name"]);
      return rows()
        .list("volumes")
        .map((v) => detail(parts, rows(), v))
        .filter((v) => passes(v, filters));
    },
    inspect: (name) => detail(parts, rows(), volumeNamed(rows(), name)),
    async remove(name, force) {
      if (force && rows().get("volumes", name) === undefined) return;
      await removeVolume(parts, name);
    },
    async prune(filters) {
      checkFilters(filters, ["all", "label", "label!"]);
      const all = (filters.get("all") ?? []).some((v) => /^(1|t|true)$/i.test(v));
      const idle = rows()
        .list("volumes")
        .filter((v) => (all || v.anonymous) && passesLabels(filters, v.labels) && usersOf(rows(), v.name).length === 0);
      for (const volume of idle) await removeVolume(parts, volume.name);
      return { names: idle.map((v) => v.name), freed: 0 };
    },
  };
}

const locked = <R>(parts: Parts, name: string, body: () => Promise<R>) => parts.locks.run(`volume:${name}`, body);

/**
 * Runs `body`, which makes these volumes where they are missing, while nobody else makes or removes one of them. After a failure
 * no directory is left that has no row.
 * @throws {EngineError} invalid for a name that no volume can have; what `body` throws
 */
export async function makingVolumes<R>(parts: Parts, names: readonly string[], body: () => Promise<R>): Promise<R> {
  const [name, ...others] = [...new Set(names)].toSorted(); // in one order, so that no two wait for each other
  if (name === undefined) return body();
  checkVolumeName(name);
  return locked(parts, name, async () => {
    try {
      return await makingVolumes(parts, others, body);
    } catch (error) {
      if (parts.store.snapshot().get("volumes", name) === undefined) await removeDirectory(parts, name);
      throw error;
    }
  });
}
const removeDirectory = (parts: Parts, name: string) =>
  rm(join(directory(parts), name), { recursive: true, force: true });

/** @returns the row that there is already, or this one */
async function make(parts: Parts, row: Volume): Promise<Volume> {
  await mkdir(volumePath(parts, row.name), { recursive: true });
  failpoint("volume.create.before-store");
  const { result } = await parts.store.update((tx) => {
    const known = tx.get("volumes", row.name);
    if (known === undefined) tx.insert("volumes", row);
    return known ?? row;
  });
  return result;
}

/** @throws {EngineError} invalid, with Docker's text (moby volume/local) */
export function checkVolumeName(name: string): void {
  if (name.length === 1)
    throw invalid(`create ${name}: volume name is too short, names should be at least two alphanumeric characters`);
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name))
    throw invalid(
      `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
}

function checkRequest(name: string, request: Parameters<Volumes["create"]>[0]): void {
  checkVolumeName(name);
  if (request.driver !== "" && request.driver !== "local")
    throw notFound(
      `create ${name}: error looking up volume plugin ${request.driver}: plugin "${request.driver}" not found`,
    );
  const option = Object.keys(request.options)[0];
  if (option !== undefined) throw invalid(`create ${name}: invalid option: "${option}"`);
}

/** @throws {EngineError} not-found, Docker's text */
function volumeNamed(rows: Snapshot, name: string): Volume {
  const row = rows.get("volumes", name);
  if (row === undefined) throw notFound(`get ${name}: no such volume`);
  return row;
}

const usersOf = (rows: Snapshot, name: string) =>
  rows.list("containers").filter((c) => c.spec.mounts.some((m) => m.type === "volume" && m.source === name));

function detail(parts: Parts, rows: Snapshot, volume: Volume): VolumeDetail {
  const users = usersOf(rows, volume.name).map((c) => c.name);
  return { volume, mountpoint: volumePath(parts, volume.name), users };
}

function passes({ volume, users }: VolumeDetail, filters: Filters): boolean {
  return (
    passesLabels(filters, volume.labels) &&
    passesFilters(filters, {
      name: (v) => volume.name.includes(v),
      driver: (v) => v === "local",
      dangling: (v) => /^(1|t|true)$/i.test(v) === (users.length === 0),
    })
  );
}

/**
 * Removes a volume that no container has. The row goes first: a directory without a row is swept at the next start.
 * @throws {EngineError} not-found; conflict when in use
 */
export async function removeVolume(parts: Parts, name: string): Promise<void> {
  await locked(parts, name, async () => {
    failpoint("volume.remove.before-store");
    await parts.store.update((tx) => {
      volumeNamed(tx, name);
      const users = usersOf(tx, name);
      if (users.length > 0) throw conflict(`remove ${name}: volume is in use - [${users.map((c) => c.id).join(", ")}]`);
      tx.delete("volumes", name);
    });
    failpoint("volume.remove.after-store");
    await removeDirectory(parts, name);
  });
  publish(parts, "destroy", name);
}

/** Directories of volumes that no row names: a create or a remove that broke off. */
export async function strayVolumes(parts: Parts): Promise<string[]> {
  const names = await readdir(directory(parts)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => parts.store.snapshot().get("volumes", name) === undefined);
}

/** Removes what `strayVolumes` finds. Only before the first call is served: a create in progress has no row yet. */
export async function sweepVolumes(parts: Parts): Promise<void> {
  for (const name of await strayVolumes(parts)) await removeDirectory(parts, name);
}

function publish(parts: Parts, action: string, name: string): void {
  parts.bus.publish({ type: "volume", action, id: name, attributes: { driver: "local" } });
}
