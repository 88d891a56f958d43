import { readMark } from "../mark.ts";
import type { LinkInfo } from "../netlink/links.ts";

/** What an object on a link inherits from it. */
export interface Holder {
  readonly name: string;
  readonly owner?: string;
}

/** Links by index, without those of other engines: what is on them is not ours. */
export function holders(links: readonly LinkInfo[], engine: string): Map<number, Holder> {
  const found = new Map<number, Holder>();
  for (const link of links) {
    const mark = readMark(link.alias);
    if (mark === undefined) found.set(link.index, { name: link.name });
    else if (mark.engine === engine) found.set(link.index, { name: link.name, owner: mark.owner });
  }
  return found;
}
