import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigError } from "./config.ts";

/** The daemon's name for itself, kept in the data root. */
export function engineId(dataRoot: string): string {
  const path = join(dataRoot, "engine-id");
  const known = readText(path)?.trim();
  if (known !== undefined && /^[0-9a-f-]{36}$/.test(known)) return known;
  const id = randomUUID();
  writeFileSync(`${path}.new`, `${id}\n`, { flush: true });
  renameSync(`${path}.new`, path);
  return id;
}

/** Marks what is ours in the kernel: short enough for a link's alias, long enough to tell daemons apart. */
export const engineMark = (id: string) => createHash("sha256").update(id).digest("hex").slice(0, 12);

/** Makes the roots: what is in them is nobody else's to read. */
export function makeRoots(dataRoot: string, execRoot: string): void {
  mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
  mkdirSync(execRoot, { recursive: true, mode: 0o755 });
}

/** @returns a function that removes the file. @throws {ConfigError} when a living daemon holds it */
export function writePidfile(path: string): () => void {
  const other = Number(readText(path)?.trim());
  if (other > 0 && other !== process.pid && isDaemon(other))
    throw new ConfigError(`process with PID ${other} is still running (${path})`);
  mkdirSync(dirname(path), { recursive: true });
  // Who reads it meanwhile finds the old one or the new one, never an empty one.
  writeFileSync(`${path}.new`, `${process.pid}\n`);
  renameSync(`${path}.new`, path);
  return () => rmSync(path, { force: true });
}

/** A pid may have gone to another program since. */
const isDaemon = (pid: number) => readText(`/proc/${pid}/cmdline`)?.includes("tombolod") ?? false;

/** Number of a group, by its name or number. Root's when there is none of that name. */
export function groupId(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const line = readText("/etc/group")
    ?.split("\n")
    .find((l) => l.startsWith(`${name}:`));
  return Number(line?.split(":")[2] ?? 0);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
