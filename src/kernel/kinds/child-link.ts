import { createHash } from "node:crypto";
import type { ChildLink, VlanLink } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { createChild } from "../netlink/child-links.ts";
import { deleteLink, type LinkInfo, setLink } from "../netlink/links.ts";
import type { Realm, Realms } from "../realms.ts";
import { parentName } from "./link-listing.ts";
import { withNamespace } from "./veth-peer.ts";

type Child = ChildLink | VlanLink;

/**
 * Makes a link on a parent. One for a sandbox is made under another name, for its own may be the host's, too, and gets
 * its name and mark in there; one that a crash left without them is found by that name, and goes first.
 * @param mark its alias @throws {KernelError} ENODEV without the parent, EBUSY, EOPNOTSUPP without the kernel's module
 */
export function makeChild(realms: Realms, object: Child, mark: string): void {
  const host = realms.get("host");
  const parent = host.link({ name: object.parent });
  if (parent === undefined) throw new KernelError("ENODEV", `there is no interface ${object.parent} on this host`);
  const place = { name: object.name, parent: parent.index };
  if (object.type === "vlan") bringUp(host, parent);
  if (object.namespace === "host") {
    const marked = setLink({ name: object.name }, { alias: mark });
    explained(object, parent.mtu, () => host.route.exchange(createChild(object, place), marked));
    return;
  }
  const there = realms.get(object.namespace);
  const name = `tmp${createHash("sha256").update(`${object.namespace} ${object.name}`).digest("hex").slice(0, 12)}`;
  const stale = there.link({ name });
  if (stale !== undefined) there.route.exchange(deleteLink(stale.index));
  withNamespace(realms, object.namespace, (namespaceFd) =>
    explained(object, parent.mtu, () => host.route.exchange(createChild(object, { ...place, name, namespaceFd }))),
  );
  const index = there.indexOf(name);
  try {
    there.route.exchange(setLink({ index }, { rename: object.name, alias: mark }));
  } catch (error) {
    there.route.exchange(deleteLink(index));
    throw error;
  }
}

/** Linux keeps a VLAN interface down while its parent is (net/8021q/vlan_dev.c): that one goes up first. */
export function bringUp(realm: Realm, link: LinkInfo): void {
  if (link.up) return;
  const below = link.child?.type === "vlan" && link.peer !== undefined ? realm.link(link.peer) : undefined;
  if (below !== undefined) bringUp(realm, below);
  realm.route.exchange(setLink({ index: link.index }, {}));
}

/** Linux says of a kind of link that it does not have just "not supported". */
function explained({ type, parent, mtu }: Child, most: number | undefined, make: () => void): void {
  try {
    make();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    if (error.code === "EINVAL" && mtu !== undefined && most !== undefined && mtu > most)
      throw new KernelError(error.code, `the MTU ${mtu} is more than the ${most} bytes of the parent ${parent}`);
    const module = type === "vlan" ? "8021q" : type;
    if (error.code === "EOPNOTSUPP" || error.code === "ENOTSUPP")
      throw new KernelError(error.code, `this kernel has no ${type} interfaces (module ${module}): ${error.message}`);
    throw new KernelError(error.code, `${type} on ${parent}: ${error.message}`);
  }
}

/** Mode, flag and VLAN stay as they were made; a parent that has another name now is still the same one. */
export function isSameChild(realms: Realms, object: Child, link: LinkInfo, realm: Realm): boolean {
  const { child } = link;
  if (child === undefined || Object.entries(child).some(([key, value]) => object[key as keyof Child] !== value))
    return false;
  return (
    parentName(realms, realm, link) === object.parent || realms.get("host").link({ name: object.parent }) === undefined
  );
}
