import { existsSync, globSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { BalancerFixture } from "../contract/balancer-cases.ts";
import type { DriverFixture } from "../contract/driver-cases.ts";

export const driversFolder = resolve(import.meta.dirname, "../../src/drivers");
export const balancersFolder = resolve(import.meta.dirname, "../../src/balancers");
/** Drivers have a folder each, and so have balancers, whether they are registered or not. */
export const foldersIn = (folder: string): string[] =>
  globSync(join(folder, "*/"))
    .map((path) => basename(path))
    .toSorted();

/** What a driver is tried with. @returns undefined when its folder has no `testing.ts` */
export const fixtureOf = (name: string): Promise<DriverFixture | undefined> => fixtureIn(join(driversFolder, name));
export const balancerFixture = (name: string): Promise<BalancerFixture | undefined> =>
  fixtureIn(join(balancersFolder, name));

async function fixtureIn<F>(folder: string): Promise<F | undefined> {
  const file = join(folder, "testing.ts");
  if (!existsSync(file)) return undefined;
  const { fixture } = (await import(file)) as { readonly fixture: F };
  return fixture;
}
