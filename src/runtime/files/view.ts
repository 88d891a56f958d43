import { closeSync, constants, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { dirname, posix } from "node:path";
import { copyMount, directoryFlags, mountAt, openInRoot, pathOnly, unmountAt } from "../../kernel/files.ts";
import { invalid } from "../../lib/errors.ts";
import type { ResolvedMount } from "../runtime.ts";
import { codeOf, entryOf, openDirectory, pathOf, withOpen } from "./paths.ts";

/** A root file system, as containerd describes it. */
export interface Layer {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}
/** Descriptors of a container's root directory. No path leads to these mounts: they end with the descriptors. */
export interface View {
  /** The container's own layers alone. */
  readonly plain: number;
  /** With its volumes and bind mounts, as its processes see it. */
  readonly whole: number;
}
const longestData = 4096; // bytes of mount(2)'s data: a page

/**
 * Opens a container's root. Layers that are mounted already (the container runs) are not mounted a second time: two
 * mounts of one upper directory do not see each other's changes (kernel, filesystems/overlayfs.rst). What it takes at
 * `point` is gone when this returns; nothing else runs in between.
 * @param point a directory for this alone @throws {EngineError} invalid for a mount that cannot be; {KernelError}
 */
export function openView(
  point: string,
  layer: Layer,
  mounts: readonly ResolvedMount[],
  options: { readonly readOnly: boolean },
): View {
  mkdirSync(point, { recursive: true, mode: 0o700 });
  unmountAt(point); // what a killed daemon left
  let plain: number | undefined;
  try {
    mountLayer(point, layer);
    mountAt(point, ["private", "recursive"]);
    plain = copyMount(point, false);
    withOpen(openSync(point, directoryFlags), (root) => {
      for (const mount of byDepth(mounts)) mountInside(root, mount);
    });
    if (options.readOnly) mountAt(point, ["remount", "bind", "readOnly"]);
    return { plain, whole: copyMount(point, true) };
  } catch (error) {
    if (plain !== undefined) closeSync(plain);
    throw error;
  } finally {
    unmountAt(point);
  }
}

export function closeView({ plain, whole }: View): void {
  closeSync(plain);
  closeSync(whole);
}

function mountLayer(point: string, { type, source, options }: Layer): void {
  if (type === "bind") return mountAt(point, ["bind"], { source });
  const upper = options.find((o) => o.startsWith("upperdir="))?.slice("upperdir=".length) ?? "";
  const mounted = overlayAt(readFileSync("/proc/self/mountinfo", "utf8"), upper);
  if (mounted !== undefined) return mountAt(point, ["bind"], { source: mounted });
  const data = options.join(",");
  if (data.length < longestData) return mountAt(point, [], { source, type, data });
  const common = dirname(dirname(upper));
  withOpen(openSync(common, directoryFlags), (fd) =>
    mountAt(point, [], { source, type, data: data.replaceAll(common, pathOf(fd)) }),
  );
}

/** Where an overlay with this upper directory is mounted (proc(5), mountinfo). */
export function overlayAt(mountinfo: string, upper: string): string | undefined {
  for (const line of mountinfo.split("\n")) {
    const [own = "", outside = ""] = line.split(" - ", 2);
    const [, , , root, point = ""] = own.split(" ");
    const [type, , options = ""] = outside.split(" ");
    if (type === "overlay" && root === "/" && options.split(",").some((o) => unescaped(o) === `upperdir=${upper}`))
      return unescaped(point);
  }
  return undefined;
}
const unescaped = (text: string) =>
  text.replaceAll(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Those that exist on the host, parents before what is inside them. A tmpfs has nothing to show but to its container. */
const byDepth = (mounts: readonly ResolvedMount[]) =>
  mounts.filter((m) => m.type === "bind").toSorted((a, b) => a.target.split("/").length - b.target.split("/").length);

function mountInside(root: number, { source, target, readOnly }: ResolvedMount): void {
  const found = statSync(source, { throwIfNoEntry: false });
  if (found === undefined) throw invalid(`invalid mount config: the source path does not exist: ${source}`);
  withOpen(mountPoint(root, target, found.isDirectory()), (fd) =>
    mountAt(pathOf(fd), ["bind", "recursive"], { source }),
  );
  // Opened again, it is what was just mounted there.
  withOpen(openInRoot(root, target, pathOnly), (fd) => {
    mountAt(pathOf(fd), ["private", "recursive"]);
    if (readOnly) mountAt(pathOf(fd), ["remount", "bind", "readOnly"]);
  });
}

/** Where a mount goes; made where the container never started, as its start would. */
function mountPoint(root: number, target: string, directory: boolean): number {
  if (directory) return openDirectory(root, posix.join("/", target));
  try {
    return openInRoot(root, target, pathOnly);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  withOpen(openDirectory(root, posix.dirname(posix.join("/", target))), (parent) =>
    closeSync(
      openSync(
        entryOf(parent, posix.basename(target)),
        constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY,
        0o644,
      ),
    ),
  );
  return openInRoot(root, target, pathOnly);
}
