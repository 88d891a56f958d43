import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { invalid } from "../../lib/errors.ts";
import type { OciProcess } from "./oci.ts";

/** Directories that an overlay is made of, the topmost first. */
export type Layers = readonly string[];

/** The layers in an overlay's mount options: `lowerdir=/a:/b,upperdir=/c,workdir=/d`; a bind mount has its source alone. */
export function layersOf(mount: {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}): Layers {
  if (mount.type !== "overlay") return [mount.source];
  const of = (key: string) => mount.options.find((o) => o.startsWith(`${key}=`))?.slice(key.length + 1);
  const upper = of("upperdir");
  return [...(upper === undefined ? [] : [upper]), ...(of("lowerdir") ?? "").split(":")];
}

/** A file of the container as text; no link is followed, so that it can only be a file of its own. "" when there is none. */
function readFrom(layers: Layers, path: string): string {
  for (const layer of layers) {
    const file = join(layer, path);
    const found = lstatSync(file, { throwIfNoEntry: false });
    if (found === undefined) continue;
    return found.isFile() && !lstatSync(join(layer, "etc")).isSymbolicLink() ? readFileSync(file, "utf8") : "";
  }
  return "";
}

const table = (text: string) => text.split("\n").map((line) => line.split(":"));
const isNumber = (text: string) => /^\d+$/.test(text);

export interface FoundUser {
  readonly ids: OciProcess["user"];
  /** The user's home directory; "/" without one. */
  readonly home: string;
}

/**
 * Finds `name`, `uid`, `name:group` or `uid:gid` in the container's own passwd and group files (passwd(5), group(5)).
 * @throws {EngineError} invalid, with runc's words, for a name that is not there
 */
export function findUser(layers: Layers, user: string, groupAdd: readonly string[]): FoundUser {
  const [who = "", group = ""] = (user || "0").split(":", 2);
  const passwd = table(readFrom(layers, "etc/passwd"));
  const groups = table(readFrom(layers, "etc/group"));
  const entry = passwd.find((p) => p[0] === who) ?? passwd.find((p) => isNumber(who) && p[2] === who);
  if (entry === undefined && !isNumber(who))
    throw invalid(`unable to find user ${who}: no matching entries in passwd file`);
  const groupNumber = (name: string) => {
    const found = groups.find((g) => g[0] === name)?.[2] ?? (isNumber(name) ? name : undefined);
    if (found === undefined) throw invalid(`unable to find group ${name}: no matching entries in group file`);
    return Number(found);
  };
  const gid = group === "" ? Number(entry?.[3] ?? 0) : groupNumber(group);
  const member =
    group === "" && entry !== undefined ? groups.filter((g) => g[3]?.split(",").includes(entry[0] ?? "")) : [];
  // Without its own group a process could not be kept out by a file's negative group permissions (CVE-2022-36109).
  const additional = [gid, ...member.map((g) => Number(g[2])), ...groupAdd.map(groupNumber)];
  return {
    ids: { uid: Number(entry?.[2] ?? who), gid, additionalGids: [...new Set(additional)] },
    home: entry?.[5] || "/",
  };
}
