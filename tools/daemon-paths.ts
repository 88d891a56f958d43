import { readFileSync } from "node:fs";
import { join } from "node:path";
import { engineMark } from "../src/daemon/files.ts";

/** Where `make run` keeps what it starts: the daemon's defaults. */
export const paths = {
  socket: "/run/tombolo/docker.sock",
  pidfile: "/run/tombolo/tombolod.pid",
  execRoot: "/run/tombolo",
  dataRoot: "/var/lib/tombolo",
  log: "/var/log/tombolod.log",
} as const;

/** What marks this daemon's things in the kernel; undefined before its first start. */
export function ownEngine(): string | undefined {
  try {
    return engineMark(readFileSync(join(paths.dataRoot, "engine-id"), "utf8").trim());
  } catch {
    return undefined;
  }
}

/** Label of everything that the tour makes. */
export const tourLabel = "tombolo.tour";
