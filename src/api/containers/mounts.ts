import { posix } from "node:path";
import { checkVolumeName } from "../../engine/volumes.ts";
import { invalid } from "../../lib/errors.ts";
import type { Mount, Volume } from "../../model/container.ts";
import type { CreateBody, HostConfigBody, MountBody } from "./create-body.ts";

const propagations = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
/** Modes that ask for nothing here: labels of SELinux, and consistency hints of Docker Desktop. */
const silent = ["z", "Z", "consistent", "cached", "delegated", "default"];

const plainMount: Omit<Mount, "type" | "target"> = {
  source: "",
  readOnly: false,
  propagation: "",
  options: "",
  copy: false,
};

/**
 * Every mount that a create request asks for, parents before what lies in them.
 * @throws {EngineError} invalid, with Docker's texts (moby volume/mounts)
 */
export function readMounts(body: CreateBody, fromOthers: readonly Mount[]): Mount[] {
  const host = body.HostConfig ?? {};
  const asked = [
    ...(host.Binds ?? []).map(readBind),
    ...(host.Mounts ?? []).map(readMount),
    ...Object.entries(host.Tmpfs ?? {}).map(readTmpfs),
  ];
  const targets = new Set<string>();
  for (const { target } of asked) {
    if (targets.has(target)) throw invalid(`Duplicate mount point: ${target}`);
    targets.add(target);
  }
  const inherited = fromOthers.filter((mount) => !targets.has(mount.target));
  for (const { target } of inherited) targets.add(target);
  const anonymous = Object.keys(body.Volumes ?? {})
    .map((path): Mount => ({ ...plainMount, type: "volume", target: readTarget(path, "volume"), copy: true }))
    .filter((mount) => !targets.has(mount.target));
  const depth = (mount: Mount) => mount.target.split("/").length;
  return [...asked, ...inherited, ...anonymous].toSorted((a, b) => depth(a) - depth(b));
}

/** `source:target[:mode,…]`, or a target alone for an anonymous volume. */
function readBind(text: string): Mount {
  const parts = text.split(":");
  const [source, target, modes = ""] = parts.length === 1 ? ["", parts[0]] : parts;
  if (parts.length > 3 || target === undefined || target === "" || (parts.length > 1 && source === ""))
    throw invalid(`invalid volume specification: '${text}'`);
  const isBind = source?.startsWith("/") === true;
  const base: Mount = {
    ...plainMount,
    type: isBind ? "bind" : "volume",
    source: isBind ? cleaned(source) : checkedName(source ?? ""),
    target: readTarget(target, isBind ? "bind" : "volume", `invalid volume specification: '${text}': `),
    ...(isBind ? { createSource: true } : { copy: true }),
  };
  return modes === "" ? base : modes.split(",").reduce((mount, mode) => withMode(mount, mode, modes), base);
}

function withMode(mount: Mount, mode: string, all: string): Mount {
  if (mode === "ro") return { ...mount, readOnly: true };
  if (mode === "rw" || silent.includes(mode)) return mount;
  if (mode === "nocopy" && mount.type === "volume") return { ...mount, copy: false };
  if (mount.type === "bind" && propagations.includes(mode)) return { ...mount, propagation: mode };
  throw invalid(`invalid mode: ${all}`);
}

function checkedName(name: string): string {
  if (name !== "") checkVolumeName(name); // "" for an anonymous one
  return name;
}

const cleaned = (path: string) => posix.normalize(path).replace(/(.)\/$/, "$1");

function readTarget(path: string, type: string, before = ""): string {
  const wrong = (reason: string) => invalid(`${before}invalid mount config for type "${type}": ${reason}`);
  if (path === "") throw wrong("field Target must not be empty");
  if (!path.startsWith("/")) throw wrong(`invalid mount path: '${path}' mount path must be absolute`);
  if (cleaned(path) === "/") throw wrong("invalid specification: destination can't be '/'");
  return cleaned(path);
}

function readTmpfs([path, options]: readonly [string, string]): Mount {
  return { ...plainMount, type: "tmpfs", target: readTarget(path, "tmpfs"), options };
}

function readMount(body: MountBody): Mount {
  const type = body.Type ?? "";
  if (type !== "bind" && type !== "volume" && type !== "tmpfs")
    throw invalid(
      `invalid mount config for type "${type}": mount type unknown: a mount is of type bind, volume or tmpfs`,
    );
  refuseOptions(body, type);
  const base: Mount = {
    ...plainMount,
    type,
    target: readTarget(body.Target ?? "", type),
    readOnly: body.ReadOnly ?? false,
  };
  if (type === "bind") return bindMount(body, base);
  if (type === "tmpfs") return tmpfsMount(body, base);
  return { ...base, source: checkedName(body.Source ?? ""), copy: !(body.VolumeOptions?.NoCopy ?? false) };
}

function refuseOptions(body: MountBody, type: Mount["type"]): void {
  const options = {
    BindOptions: "bind",
    VolumeOptions: "volume",
    TmpfsOptions: "tmpfs",
    ImageOptions: "image",
    ClusterOptions: "cluster",
  } as const;
  for (const [field, of] of Object.entries(options))
    if (body[field] && type !== of) throw invalid(`${field} must not be specified on mount type "${type}"`);
  const { BindOptions, VolumeOptions } = body;
  const unsupported = [
    BindOptions?.NonRecursive && "BindOptions.NonRecursive",
    BindOptions?.ReadOnlyForceRecursive && "BindOptions.ReadOnlyForceRecursive",
    VolumeOptions?.Subpath && "VolumeOptions.Subpath",
    (VolumeOptions?.DriverConfig?.Name || "local") !== "local" && "VolumeOptions.DriverConfig.Name",
  ].find((field) => field);
  if (unsupported) throw invalid(`HostConfig.Mounts: ${unsupported} is not supported`);
  const [option] = Object.keys(VolumeOptions?.DriverConfig?.Options ?? {});
  if (option !== undefined)
    throw invalid(
      `HostConfig.Mounts: VolumeOptions.DriverConfig.Options is not supported: a volume is a directory of its host, without option "${option}"`,
    );
}

function bindMount(body: MountBody, base: Mount): Mount {
  const source = body.Source ?? "";
  const wrong = (reason: string) => invalid(`invalid mount config for type "bind": ${reason}`);
  if (source === "") throw wrong("field Source must not be empty");
  if (!source.startsWith("/")) throw wrong(`invalid mount path: '${source}' mount path must be absolute`);
  const propagation = body.BindOptions?.Propagation ?? "";
  if (propagation !== "" && !propagations.includes(propagation))
    throw wrong(`invalid propagation mode: ${propagation}`);
  return {
    ...base,
    source: cleaned(source),
    propagation,
    ...(body.BindOptions?.CreateMountpoint && { createSource: true }),
  };
}

function tmpfsMount({ Source, TmpfsOptions }: MountBody, base: Mount): Mount {
  if (Source) throw invalid('invalid mount config for type "tmpfs": field Source must not be specified');
  const { SizeBytes, Mode, Options } = TmpfsOptions ?? {};
  const more = (Options ?? []).map((pair) => (pair ?? []).join("="));
  const options = [...(SizeBytes ? [`size=${SizeBytes}`] : []), ...(Mode ? [`mode=${Mode.toString(8)}`] : []), ...more];
  return { ...base, options: options.join(",") };
}

/** `name[:ro|rw]` of `--volumes-from`. @throws {EngineError} invalid, with Docker's text */
export function readVolumesFrom(text: string): { readonly name: string; readonly readOnly: boolean } {
  const [name = "", mode = "rw", ...rest] = text.split(":");
  if (name === "" || rest.length > 0) throw invalid(`invalid volumes-from specification: ${text}`);
  const modes = mode.split(",");
  if (!modes.every((m) => m === "ro" || m === "rw" || silent.includes(m))) throw invalid(`invalid mode: ${mode}`);
  return { name, readOnly: modes.includes("ro") };
}

/** Volumes that want labels of their own when they are made. */
export function volumesToCreate(host: HostConfigBody): Pick<Volume, "name" | "labels">[] {
  return (host.Mounts ?? []).flatMap(({ Type, Source, VolumeOptions }) => {
    const labels = VolumeOptions?.Labels ?? {};
    const isSpecial = Type === "volume" && Object.keys(labels).length > 0;
    return isSpecial ? [{ name: Source ?? "", labels }] : [];
  });
}
