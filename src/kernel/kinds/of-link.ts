import type { NamespaceName } from "../../model/plan.ts";
import { readMark } from "../mark.ts";
import type { LinkInfo } from "../netlink/links.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";

/**
 * Removes an object from its link, where both are still there.
 * @param gone refusals that mean that the object is not
 */
export function removeFrom(
  realms: Realms,
  { namespace, link: name }: { readonly namespace: NamespaceName; readonly link: string },
  gone: readonly string[],
  remove: (realm: Realm, link: LinkInfo) => void,
): void {
  const realm = realms.find(namespace);
  const link = realm?.link({ name });
  if (realm !== undefined && link !== undefined) tolerate([...gone, "ENODEV"], () => remove(realm, link));
}

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
