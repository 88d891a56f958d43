import { createHash } from "node:crypto";
import { encryptedUnderlay, type NamespaceName, type VxlanLink } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { deleteLink, type LinkInfo, moveLink, setDormant } from "../netlink/links.ts";
import { createVxlan } from "../netlink/vxlan.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { leadsTo, withNamespace } from "./veth-peer.ts";

/**
 * Makes a VXLAN link that is down. One for another namespace than its underlay is made there, where its socket stays, marked,
 * and moved, all in one system call, so that none is ever without a mark; its own name it gets there, for that may be the
 * host's, too. What a crash left under the first name goes before.
 * @param mark its alias @returns its index @throws {KernelError} EEXIST: a link of the host has this VNI on this port
 */
export function makeVxlan(realms: Realms, object: VxlanLink, mark: string): number {
  const { underlay = "host" } = object;
  const host = realms.get(underlay);
  const there = realms.get(object.namespace);
  if (object.namespace === underlay) {
    const { name } = object;
    explained(object, () => host.route.exchange(createVxlan(object, name), setDormant({ name }, { alias: mark })));
    return host.indexOf(name);
  }
  const name = `tmp${createHash("sha256").update(`${object.namespace} ${object.name}`).digest("hex").slice(0, 12)}`;
  for (const realm of [host, there]) removeNamed(realm, name);
  try {
    withNamespace(realms, object.namespace, (namespaceFd) =>
      explained(object, () =>
        host.route.exchange(
          createVxlan(object, name),
          setDormant({ name }, { alias: mark }),
          moveLink(name, namespaceFd),
        ),
      ),
    );
    const index = there.indexOf(name);
    there.route.exchange(setDormant({ index }, { rename: object.name }));
    return index;
  } catch (error) {
    for (const realm of [host, there]) removeNamed(realm, name);
    throw error;
  }
}

function removeNamed(realm: Realm, name: string): void {
  const link = realm.link({ name });
  if (link !== undefined) tolerate(["ENODEV"], () => realm.route.exchange(deleteLink(link.index)));
}

/** Linux says neither which VNI nor which port is taken; the port's turn comes when the link goes up (vxlan_open). */
export function explained<R>({ vni, udpPort }: VxlanLink, body: () => R): R {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    if (error.code === "EEXIST")
      throw new KernelError(error.code, `VXLAN ${vni} on UDP port ${udpPort} of this host is taken: ${error.message}`);
    if (error.code === "EADDRINUSE")
      throw new KernelError(error.code, `UDP port ${udpPort} of this host is another program's: ${error.message}`);
    if (error.code === "EOPNOTSUPP" || error.code === "ENOTSUPP")
      throw new KernelError(error.code, `this kernel has no VXLAN interfaces (module vxlan): ${error.message}`);
    throw error;
  }
}

/** A tunnel's ends stay as they were made. One that learns was changed by somebody else, and is made anew. */
export function isSameVxlan(realms: Realms, realm: Realm, object: VxlanLink, link: LinkInfo): boolean {
  const { vxlan } = link;
  return (
    vxlan !== undefined &&
    !vxlan.learning &&
    vxlan.vni === object.vni &&
    vxlan.udpPort === object.udpPort &&
    vxlan.local === object.local &&
    underlayOf(realms, realm, link) === object.underlay
  );
}

/** Where its socket is, when that is not the host's namespace. */
export const underlayOf = (realms: Realms, realm: Realm, link: LinkInfo): NamespaceName | undefined =>
  leadsTo(realms, realm, link, encryptedUnderlay) ? encryptedUnderlay : undefined;
