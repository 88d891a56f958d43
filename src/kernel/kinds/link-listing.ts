import { isDeepStrictEqual } from "node:util";
import type { BridgePort, LinkObject, NamespaceName, PlanObject } from "../../model/plan.ts";
import type { Found } from "../kernel.ts";
import { readMark } from "../mark.ts";
import type { LinkInfo } from "../netlink/links.ts";
import type { Picture } from "../picture.ts";
import type { Realm, Realms } from "../realms.ts";
import { isWireguard, wireguardWords } from "../wireguard/find-device.ts";
import { type PeerReader, peerReader } from "./veth-peer.ts";
import { underlayOf } from "./vxlan-link.ts";

/** The MTU that Linux gives bridges and veths (ETH_DATA_LEN); a link on a parent has the parent's. */
export const defaultMtu = 1500;

/** Links with the engine's mark, and those without one that a wish uses. Far ends of veths are part of the near one. */
export function listLinks(
  realms: Realms,
  engine: string,
  { namespace, picture }: { readonly namespace: NamespaceName; readonly picture: Picture },
  wishOf: (key: string) => { readonly object: LinkObject; readonly owner: string } | undefined,
): Found[] {
  const { realm, links } = picture;
  const names = new Map(links.map((link) => [link.index, link.name]));
  const words: Words = {
    namespace,
    names,
    peerOf: peerReader(realms, namespace, realm),
    parentOf: (link) => parentName(realms, realm, link),
    underlayOf: (link) => underlayOf(realms, realm, link),
    wireguardOf: (link) => wireguardWords(realm, link),
  };
  return links.flatMap((link) => {
    const mark = readMark(link.alias);
    if (mark === undefined) return adopted(link, wishOf(`link|${namespace}|${link.name}`));
    const wish = wishOf(`link|${namespace}|${link.name}`)?.object;
    const object = mark.engine === engine && !mark.peer ? describe(link, words, wish) : undefined;
    if (object === undefined) return [];
    const isAsWished =
      wish !== undefined && satisfies(wish, followed(realms, object, wish), link, mtuLeftOpen(realms, realm, link));
    return [{ object: isAsWished ? wish : shown(object, link), owner: mark.owner }];
  });
}

/** A link that was there before us and that a plan of this process uses: it carries no mark, but its user is known. */
const adopted = (link: LinkInfo, wish: ReturnType<Parameters<typeof listLinks>[3]>): Found[] =>
  wish?.object.adopt === true && mayAdopt(wish.object, link) ? [wish] : [];

/** A parent may be of any type: `eth0.50` is what its name says, whoever made it. */
export const mayAdopt = (wish: LinkObject, link: LinkInfo) => wish.type === "vlan" || wish.type === link.type;

interface Words {
  readonly namespace: NamespaceName;
  /** Links of that namespace by index. */
  readonly names: ReadonlyMap<number, string>;
  readonly peerOf: PeerReader;
  readonly parentOf: (link: LinkInfo) => string;
  readonly underlayOf: (link: LinkInfo) => NamespaceName | undefined;
  readonly wireguardOf: (link: LinkInfo) => ReturnType<typeof wireguardWords>;
}

/** Everything that the kernel says of the link, in the words of a plan; undefined for a type that no plan has. */
function describe(link: LinkInfo, words: Words, wish: LinkObject | undefined): LinkObject | undefined {
  const { namespace, names, peerOf, parentOf, underlayOf: placeOf, wireguardOf } = words;
  if (isWireguard(link)) {
    const { name, mtu, up } = link;
    // One that is down differs from every plan.
    const own = up ? wireguardOf(link) : { publicKey: "", udpPort: 0 };
    return { kind: "link", type: "wireguard", namespace, name, mtu, ...own };
  }
  const base = { kind: "link", namespace, name: link.name, mac: link.mac, mtu: link.mtu } as const;
  if (link.type === "bridge") return { ...base, type: "bridge" };
  if (link.child !== undefined) return { ...base, ...link.child, parent: parentOf(link) };
  if (link.type !== "veth" && link.vxlan === undefined) return undefined;
  const bridge = link.master === undefined ? undefined : names.get(link.master);
  const port: BridgePort | undefined =
    bridge === undefined || link.port === undefined ? undefined : { bridge, ...link.port };
  const member = port === undefined ? {} : { port };
  if (link.vxlan === undefined) {
    const wished = wish?.type === "veth" ? wish.peer.namespace : undefined;
    return { ...base, type: "veth", peer: peerOf(link, wished), ...member };
  }
  const { learning, local, ...vxlan } = link.vxlan;
  // No plan has one that learns: without its address it differs from all.
  const underlay = placeOf(link);
  const place = underlay === undefined ? {} : { underlay };
  return { ...base, type: "vxlan", ...vxlan, local: learning ? "" : local, ...place, ...member };
}

/** The parent's name: in the link's own namespace, or in the host's; "" without one. */
export const parentName = (realms: Realms, realm: Realm, link: LinkInfo): string =>
  parentOf(realms, realm, link)?.name ?? "";

function parentOf(realms: Realms, realm: Realm, { peer }: LinkInfo): LinkInfo | undefined {
  if (peer === undefined) return undefined;
  const there = peer.namespaceId === undefined ? realm : realms.get("host");
  return there.link({ index: peer.index });
}

/** With the parent as the plan names it, when that name is nobody's any more: the parent was renamed. */
function followed(realms: Realms, found: LinkObject, wish: LinkObject): LinkObject {
  if (!("parent" in found) || !("parent" in wish) || found.parent === wish.parent) return found;
  const isRenamed = found.parent !== "" && realms.get("host").link({ name: wish.parent }) === undefined;
  return isRenamed ? { ...found, parent: wish.parent } : found;
}

function satisfies(wish: LinkObject, found: LinkObject, link: LinkInfo, mtu: number): boolean {
  const { adopt: _, ...wished } = wish;
  const left = { mac: wish.mac ?? found.mac, mtu: wish.mtu ?? mtu };
  return link.up && isDeepStrictEqual({ ...wished, ...left }, found);
}

/** What a link has where a plan leaves it open: its parent's, if it has one that is there. */
export function mtuLeftOpen(realms: Realms, realm: Realm, link: LinkInfo): number {
  return link.child === undefined ? defaultMtu : (parentOf(realms, realm, link)?.mtu ?? link.mtu);
}

/** As a plan would most likely put it. A link that is down is listed without its MAC: so it differs from every plan that has one. */
function shown(object: LinkObject, link: LinkInfo): PlanObject {
  const { mtu, mac, ...rest } = object;
  return {
    ...rest,
    ...(mtu !== undefined && mtu !== defaultMtu && { mtu }),
    ...(link.up && mac !== undefined && { mac }),
  };
}
