import { isDeepStrictEqual } from "node:util";
import { type BridgePort, keyOf, type LinkObject, type NamespaceName, type PlanObject } from "../../model/plan.ts";
import type { Found } from "../kernel.ts";
import { readMark } from "../mark.ts";
import type { LinkInfo } from "../netlink/links.ts";
import type { Realms } from "../realms.ts";
import { type Peer, peerReader } from "./veth-peer.ts";

/** The MTU that Linux gives bridges and veths (ETH_DATA_LEN). */
export const defaultMtu = 1500;

/** Links with the engine's mark, and those without one that a wish uses. Far ends of veths are part of the near one. */
export function listLinks(
  realms: Realms,
  engine: string,
  namespace: NamespaceName,
  wishOf: (key: string) => { readonly object: LinkObject; readonly owner: string } | undefined,
): Found[] {
  const realm = realms.find(namespace);
  if (realm === undefined) return [];
  const links = realm.links();
  const names = new Map(links.map((link) => [link.index, link.name]));
  const peerOf = peerReader(realms, namespace, realm);
  return links.flatMap((link) => {
    const mark = readMark(link.alias);
    if (mark === undefined) return adopted(link, wishOf(`link|${namespace}|${link.name}`));
    if (mark.engine !== engine || mark.peer || (link.type !== "bridge" && link.type !== "veth")) return [];
    const object = describe(namespace, link, names, peerOf);
    const wish = wishOf(keyOf(object))?.object;
    return [
      { object: wish !== undefined && satisfies(wish, object, link) ? wish : shown(object, link), owner: mark.owner },
    ];
  });
}

/** A link that was there before us and that a plan of this process uses: it carries no mark, but its user is known. */
const adopted = (link: LinkInfo, wish: ReturnType<Parameters<typeof listLinks>[3]>): Found[] =>
  wish?.object.adopt === true && wish.object.type === link.type ? [wish] : [];

/** Everything that the kernel says of the link, in the words of a plan. */
function describe(
  namespace: NamespaceName,
  link: LinkInfo,
  names: ReadonlyMap<number, string>,
  peerOf: (link: LinkInfo) => Peer,
): LinkObject {
  const base = { kind: "link", namespace, name: link.name, mac: link.mac, mtu: link.mtu } as const;
  if (link.type === "bridge") return { ...base, type: "bridge" };
  const bridge = link.master === undefined ? undefined : names.get(link.master);
  const port: BridgePort | undefined =
    bridge === undefined || link.port === undefined ? undefined : { bridge, ...link.port };
  return { ...base, type: "veth", peer: peerOf(link), ...(port !== undefined && { port }) };
}

function satisfies(wish: LinkObject, found: LinkObject, link: LinkInfo): boolean {
  const { adopt: _, ...wished } = wish;
  return link.up && isDeepStrictEqual({ ...wished, mac: wish.mac ?? found.mac, mtu: wish.mtu ?? defaultMtu }, found);
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
