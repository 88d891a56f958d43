import { existsSync, globSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { DriverFixture } from "../contract/driver-cases.ts";

export const driversFolder = resolve(import.meta.dirname, "../../src/drivers");
/** Drivers have a folder each, whether they are registered or not. */
export const driverFolders = (): string[] =>
  globSync(join(driversFolder, "*/"))
    .map((path) => basename(path))
    .toSorted();

/** What a driver is tried with. @returns undefined when its folder has no `testing.ts` */
export async function fixtureOf(name: string): Promise<DriverFixture | undefined> {
  const file = join(driversFolder, name, "testing.ts");
  if (!existsSync(file)) return undefined;
  const { fixture } = (await import(file)) as { readonly fixture: DriverFixture };
  return fixture;
}
