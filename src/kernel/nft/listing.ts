import type { RuleFamily } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { type Nft, output } from "./nft.ts";

/** The one table that is ours, in each family. */
export const table = "tombolo";
export const families: readonly RuleFamily[] = ["ip", "ip6", "bridge", "netdev"];

/** A chain, set, map or other object as nft prints it. */
export interface Block {
  readonly type: string;
  readonly name: string;
  readonly comment?: string;
  /** What is inside, line by line, without the comment. */
  readonly lines: readonly string[];
}
export interface TableListing {
  readonly comment?: string;
  readonly blocks: readonly Block[];
}

const commentLine = /^\s*comment "(.*)"$/;

/** Reads `nft list table`: blocks are indented by one tab, what is in them by two. */
export function readListing(printed: string): TableListing {
  const blocks: { type: string; name: string; comment?: string; lines: string[] }[] = [];
  let comment: string | undefined;
  let inside = false;
  for (const line of printed.split("\n")) {
    const head = /^\t((?:ct )?\w+) (\S+) \{$/.exec(line);
    const current = blocks.at(-1);
    if (head !== null) {
      blocks.push({ type: head[1] ?? "", name: head[2] ?? "", lines: [] });
      inside = true;
    } else if (line === "\t}") inside = false;
    else if (inside && current !== undefined) addLine(current, line);
    else comment = commentLine.exec(line)?.[1] ?? comment;
  }
  return { blocks, ...(comment !== undefined && { comment }) };
}

function addLine(block: { comment?: string; lines: string[] }, line: string): void {
  const comment = commentLine.exec(line)?.[1];
  if (comment !== undefined && block.lines.length === 0) block.comment = comment;
  else if (line.trim() !== "") block.lines.push(line.trim());
}

/** The families in which there is a table of ours. */
export function presentFamilies(nft: Nft): RuleFamily[] {
  const lines = nft.run("list tables").split("\n");
  return families.filter((family) => lines.includes(`table ${family} ${table}`));
}

/** The table without its elements. @returns undefined when there is none */
export function listTable(nft: Nft, family: RuleFamily): TableListing | undefined {
  const printed = listed(nft, `list table ${family} ${table}`, output.terse | output.stateless);
  return printed === undefined ? undefined : readListing(printed);
}

/** The table with its elements, as nft's JSON. @returns undefined when there is none */
export function listJson(nft: Nft, family: RuleFamily): string | undefined {
  return listed(nft, `list table ${family} ${table}`, output.json | output.stateless);
}

function listed(nft: Nft, command: string, flags: number): string | undefined {
  try {
    return nft.run(command, flags);
  } catch (error) {
    if (error instanceof KernelError && error.code === "ENOENT") return undefined;
    throw error;
  }
}
