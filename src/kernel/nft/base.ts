import { createHash } from "node:crypto";
import type { Family } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { type Block, families, listTable, table, type TableListing } from "./listing.ts";
import type { Nft } from "./nft.ts";

/** The users' own chain: made when missing, never flushed. */
export const usersChain = "DOCKER-USER";

export interface Base {
  /** @see Kernel.ensureBase */
  ensure(text: Readonly<Record<Family, string>>): void;
  /** True for sets and maps of the base text. */
  has(family: Family, set: string): boolean;
}

/**
 * The base of the table. Its comment says engine and version (a hash of the text). What nft printed after the base was
 * written is remembered; a difference from that means that somebody changed it.
 */
export function createBase(nft: () => Nft, engine: string): Base {
  const written = new Map<Family, string>();
  const names = new Map<Family, ReadonlySet<string>>();

  /** What is ours to keep as it is: all blocks of the base, less what users put into their chain. */
  const baseOf = (family: Family, listing: TableListing) =>
    JSON.stringify(
      listing.blocks.filter((b) => names.get(family)?.has(b.name)).map((b) => (b.name === usersChain ? b.name : b)),
    );

  function ensureFamily(family: Family, text: string): void {
    names.set(family, new Set(blockNames(text)));
    const comment = `tombolo:${engine}:${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
    const listing = listTable(nft(), family);
    if (listing?.comment === comment && baseOf(family, listing) === written.get(family)) return;
    if (listing?.comment !== comment || !mended(family, text, listing)) rebuild(family, text, comment, listing);
    const now = listTable(nft(), family);
    if (now !== undefined) written.set(family, baseOf(family, now));
  }

  /** @returns false when a base object stands in the way of its own kind (a chain without its hook, a set of another type) */
  function mended(family: Family, text: string, listing: TableListing): boolean {
    try {
      nft().run(mendCommands(family, text, listing));
      return true;
    } catch (error) {
      if (error instanceof KernelError) return false;
      throw error;
    }
  }

  function rebuild(family: Family, text: string, comment: string, listing: TableListing | undefined): void {
    nft().run(rebuildCommands(family, text, comment, listing));
  }

  return {
    ensure: (text) => families.forEach((family) => ensureFamily(family, text[family])),
    has: (family, set) => names.get(family)?.has(set) === true,
  };
}

/** Names of the chains, sets and maps that the text makes. */
export function blockNames(text: string): string[] {
  return [...text.matchAll(/^\s*(?:chain|set|map) (\S+) \{/gm)].flatMap((found) => found[1] ?? []);
}

/** Fills the base chains anew and makes what is missing; elements that are there stay. */
function mendCommands(family: Family, text: string, listing: TableListing): string {
  const wished = new Set(blockNames(text));
  const present = listing.blocks.filter((b) => b.type === "chain" && b.name !== usersChain && wished.has(b.name));
  return [
    ...present.map((b) => `flush chain ${family} ${table} ${b.name}`),
    `table ${family} ${table} {${text}}`,
    "",
  ].join("\n");
}

/** Everything of the table goes but the users' rules. */
function rebuildCommands(family: Family, text: string, comment: string, listing: TableListing | undefined): string {
  const users: Block | undefined = listing?.blocks.find((b) => b.name === usersChain);
  return [
    `add table ${family} ${table}`,
    `delete table ${family} ${table}`,
    `table ${family} ${table} {\ncomment "${comment}"${text}}`,
    ...(users?.lines ?? []).map((rule) => `add rule ${family} ${table} ${usersChain} ${rule}`),
    "",
  ].join("\n");
}
