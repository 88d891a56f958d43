import { createHash } from "node:crypto";
import { type BaseText, isWatched, type NamespaceName, type RuleFamily } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import type { Realm, Realms } from "../realms.ts";
import { type Block, families, listTable, presentFamilies, table, type TableListing } from "./listing.ts";
import type { Nft } from "./nft.ts";

/** The users' own chain: made when missing, never flushed. */
export const usersChain = "DOCKER-USER";

export interface Base {
  /** @see Kernel.ensureBase */
  ensure(text: BaseText, namespace: NamespaceName): void;
  /** Before rules of these families are written in a namespace: makes their base, unless it was there when somebody looked last. */
  prepare(namespace: NamespaceName, wanted: ReadonlySet<RuleFamily>): void;
  /** True for sets and maps that the base of a namespace has. */
  has(namespace: NamespaceName, family: RuleFamily, set: string): boolean;
}

/**
 * The base of the tables. A table's comment says engine and version (a hash of the text). What nft printed after the base was
 * written is remembered; a difference from that means that somebody changed it.
 */
export function createBase(realms: Realms, engine: string): Base {
  let text: BaseText = () => ({});
  const written = new WeakMap<Realm, Map<RuleFamily, string>>();

  function ensureIn(realm: Realm, namespace: NamespaceName, wanted: readonly RuleFamily[]): void {
    const known = written.get(realm) ?? new Map<RuleFamily, string>();
    written.set(realm, known);
    for (const family of wanted) {
      const wished = text(namespace)[family];
      if (wished === undefined) continue;
      const printed = ensureFamily(realm.nft(), engine, { family, text: wished }, known.get(family));
      if (printed !== undefined) known.set(family, printed);
    }
  }

  return {
    ensure(wished, namespace) {
      text = wished;
      const realm = realms.get(namespace);
      const wanted = isWatched(namespace) ? families : presentFamilies(realm.nft());
      // What a container has flushed is made with the next rule.
      for (const family of written.get(realm)?.keys() ?? [])
        if (!wanted.includes(family)) written.get(realm)?.delete(family);
      ensureIn(realm, namespace, wanted);
    },
    prepare(namespace, wanted) {
      const realm = realms.find(namespace);
      if (namespace === "host" || realm === undefined) return;
      const missing = [...wanted].filter((family) => written.get(realm)?.has(family) !== true);
      if (missing.length > 0) ensureIn(realm, namespace, missing);
    },
    has: (namespace, family, set) => blockNames(text(namespace)[family] ?? "").includes(set),
  };
}

interface Wished {
  readonly family: RuleFamily;
  readonly text: string;
}

/** @param written what the base was printed as when it was last in order @returns what it is printed as now */
function ensureFamily(nft: Nft, engine: string, wished: Wished, written: string | undefined): string | undefined {
  const comment = `tombolo:${engine}:${createHash("sha256").update(wished.text).digest("hex").slice(0, 16)}`;
  const listing = listTable(nft, wished.family);
  const isSame = listing?.comment === comment;
  if (isSame && printedBase(wished, listing) === written) return written;
  if (!isSame || !mended(nft, wished, listing)) rebuild(nft, wished, comment, listing);
  const now = listTable(nft, wished.family);
  return now && printedBase(wished, now);
}

/** @throws {KernelError} EOPNOTSUPP when the kernel was made without such tables */
function rebuild(nft: Nft, wished: Wished, comment: string, listing: TableListing | undefined): void {
  try {
    nft.run(rebuildCommands(wished, comment, listing));
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== "EOPNOTSUPP" || listing !== undefined) throw error;
    throw new KernelError(error.code, `this kernel has no nftables of the family ${wished.family}`);
  }
}

/** What is ours to keep as it is: all blocks of the base, less what users put into their chain. */
function printedBase({ text }: Wished, { blocks }: TableListing): string {
  const names = new Set(blockNames(text));
  return JSON.stringify(blocks.filter((b) => names.has(b.name)).map((b) => (b.name === usersChain ? b.name : b)));
}

/** @returns false when a base object stands in the way of its own kind (a chain without its hook, a set of another type) */
function mended(nft: Nft, wished: Wished, listing: TableListing): boolean {
  try {
    nft.run(mendCommands(wished, listing));
    return true;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** Names of the chains, sets and maps that the text makes. */
export function blockNames(text: string): string[] {
  return [...text.matchAll(/^\s*(?:chain|set|map) (\S+) \{/gm)].flatMap((found) => found[1] ?? []);
}

/** Fills the base chains anew and makes what is missing; elements that are there stay. */
function mendCommands({ family, text }: Wished, listing: TableListing): string {
  const wished = new Set(blockNames(text));
  const present = listing.blocks.filter((b) => b.type === "chain" && b.name !== usersChain && wished.has(b.name));
  return [
    ...present.map((b) => `flush chain ${family} ${table} ${b.name}`),
    `table ${family} ${table} {${text}}`,
    "",
  ].join("\n");
}

/** Everything of the table goes but the users' rules. */
function rebuildCommands({ family, text }: Wished, comment: string, listing: TableListing | undefined): string {
  const users: Block | undefined = listing?.blocks.find((b) => b.name === usersChain);
  return [
    `add table ${family} ${table}`,
    `delete table ${family} ${table}`,
    `table ${family} ${table} {\ncomment "${comment}"${text}}`,
    ...(users?.lines ?? []).map((rule) => `add rule ${family} ${table} ${usersChain} ${rule}`),
    "",
  ].join("\n");
}
