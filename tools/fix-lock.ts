/**
 * Adds to package-lock.json the platform packages that a registry mirror did not list. `npm ci` refuses a lock file
 * without them although it never fetches them. Run after every `npm install`, before committing the lock file.
 */
import { readFileSync, writeFileSync } from "node:fs";

interface LockedPackage {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const systems = ["darwin", "win32", "android", "freebsd", "openbsd", "netbsd", "openharmony", "sunos", "aix", "linux"];
const processors = ["arm64", "x64", "ia32", "armv7", "arm", "ppc64", "riscv64", "s390x"];

/** What the lock file would say of `name`, read off its name: `@scope/tool-linux-x64-musl`. */
function missingEntry(name: string, range: string, parent: LockedPackage): LockedPackage {
  const tail = name.split("/").at(-1) ?? name;
  const cpu = processors.find((c) => new RegExp(`(^|-)${c}(-|$|eabi)`).test(tail)) ?? "none";
  return {
    version: range.replace(/^[\^~]/, ""),
    cpu: [cpu === "armv7" ? "arm" : cpu],
    ...(parent.dev === true && { dev: true }),
    ...(tail.includes("musl") && { libc: ["musl"] }),
    optional: true,
    os: [systems.find((s) => tail.includes(s)) ?? "none"],
  };
}

const path = "package-lock.json";
const lock = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, LockedPackage> };
const packages = lock.packages;
let added = 0;
for (const [parent, entry] of Object.entries(packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (packages[`node_modules/${name}`] !== undefined || packages[`${parent}/node_modules/${name}`] !== undefined)
      continue;
    packages[`node_modules/${name}`] = missingEntry(name, range, entry);
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`package-lock.json: ${added} platform entries added`);
