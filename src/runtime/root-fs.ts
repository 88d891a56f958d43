import {
  chmodSync,
  copyFileSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  type Stats,
} from "node:fs";
import { join } from "node:path";
import type { Mount } from "./containerd/gen/types_pb.ts";
import { layersOf } from "./spec/user.ts";

const whiteout = (stats: Stats) => stats.isCharacterDevice() && stats.rdev === 0;

/**
 * Copies what an image has at `target` into an empty directory, with owners, modes and times: a new volume. It is read
 * from the overlay's layers, topmost first, so nothing has to be mounted. Links are copied, never followed.
 * @param mount the root file system, as containerd describes it
 */
export function copyFromLayers(mount: Mount, target: string, into: string): void {
  const layers = layersOf(mount);
  const path = target
    .split("/")
    .filter((part) => part !== "" && part !== "." && part !== "..")
    .join("/");
  const own = visible(layers, path);
  if (own === undefined || !own.stats.isDirectory()) return;
  copyAttributes(own.stats, into);
  copyDirectory(layers, path, into);
}

/** The topmost entry at a path; undefined where a layer deleted it or none has it. A link on the way is not followed. */
function visible(
  layers: readonly string[],
  path: string,
): { readonly file: string; readonly stats: Stats } | undefined {
  for (const layer of layers) {
    let at = layer;
    for (const part of path.split("/")) {
      at = join(at, part);
      const stats = lstatSync(at, { throwIfNoEntry: false });
      if (stats !== undefined && whiteout(stats)) return undefined;
      if (stats === undefined) break;
      if (at === join(layer, path)) return { file: at, stats };
      if (!stats.isDirectory()) return undefined;
    }
  }
  return undefined;
}

function copyDirectory(layers: readonly string[], path: string, into: string): void {
  const names = new Set(
    layers.flatMap((layer) => (isDirectory(join(layer, path)) ? readdirSync(join(layer, path)) : [])),
  );
  for (const name of names) {
    const entry = visible(layers, join(path, name));
    if (entry === undefined) continue;
    const to = join(into, name);
    if (entry.stats.isDirectory()) {
      mkdirSync(to);
      copyDirectory(layers, join(path, name), to);
    } else if (entry.stats.isSymbolicLink()) symlinkSync(readlinkSync(entry.file), to);
    else if (entry.stats.isFile()) copyFileSync(entry.file, to);
    else continue; // devices and FIFOs are not for volumes
    copyAttributes(entry.stats, to);
  }
}

const isDirectory = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

function copyAttributes(stats: Stats, to: string): void {
  lchownSync(to, stats.uid, stats.gid);
  if (stats.isSymbolicLink()) return;
  chmodSync(to, stats.mode & 0o7777);
  utimesSync(to, stats.atime, stats.mtime);
}
