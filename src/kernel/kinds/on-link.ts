import { ObjectMap } from "../../model/object-map.ts";
import type { AddressObject, ForwardingObject, NeighbourObject, RouteObject, TunnelObject } from "../../model/plan.ts";
import { addressText, contains, parseCidr } from "../../lib/net.ts";
import { type Found, KernelError } from "../kernel.ts";
import { type AddressInfo, deleteAddress, putAddress } from "../netlink/addresses.ts";
import type { Message } from "../netlink/message.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  dumpNeighbours,
  putForwarding,
  putNeighbour,
  readForwarding,
  readNeighbour,
} from "../netlink/neighbours.ts";
import { ourProtocol } from "../netlink/protocol.ts";
import type { Picture } from "../picture.ts";
import { addRoute, deleteRoute, putRoute } from "../netlink/routes.ts";
import { deleteTunnel, putTunnel, readTunnel } from "../netlink/tunnels.ts";
import type { Realm, Realms } from "../realms.ts";
import type { Handler } from "./handler.ts";
import { holders, removeFrom } from "./of-link.ts";

type OnLink = AddressObject | RouteObject | NeighbourObject | ForwardingObject | TunnelObject;
/** What the kernel holds on a link, less the link's name. */
type Held<O extends OnLink> = {
  readonly index: number;
  readonly object: Omit<O, "namespace" | "link">;
  /** With which address of this host one speaks over a route. */
  readonly source?: string;
  /** Index of the link whose owner it has, when that is another one. */
  readonly heir?: number;
};

/** What differs between the kinds of objects that stand on a link. */
interface Words<O extends OnLink> {
  /** The only type of link that can have such an object. */
  readonly linkType?: string;
  put(index: number, object: O, realm: Realm): Message;
  /** Before an object is put for the first time. @throws {KernelError} EEXIST when somebody else has one in its place */
  begin?(index: number, object: O, realm: Realm): void;
  remove(index: number, object: O): Message;
  /** Refusals of a removal that mean that the object is gone. */
  readonly gone: readonly string[];
  read(picture: Picture): readonly Held<O>[];
  /** What the kernel keeps of the host's in another way than it was asked for. @returns the wish's words where they still hold */
  wordsOf?(picture: Picture): (held: Held<O>, wish: O) => Partial<O>;
}

/**
 * Objects on a link, and gone with it. The kernel keeps no owner of theirs: it is who asked for it in this process, else the link's.
 */
function onLink<O extends OnLink>(words: Words<O>, realms: Realms, engine: string): Handler<O> {
  const owners = new ObjectMap<string>();
  const wishes = new ObjectMap<O>();
  return {
    put(object, owner) {
      const realm = realms.get(object.namespace);
      const { index, type } = realm.need(object.link);
      if (words.linkType !== undefined && type !== words.linkType)
        throw new KernelError("EOPNOTSUPP", `link ${object.link} is a ${type || "device"}, not a ${words.linkType}`);
      if (owners.get(object) === undefined) words.begin?.(index, object, realm);
      realm.route.exchange(words.put(index, object, realm));
      owners.set(object, owner);
      if (words.wordsOf !== undefined) wishes.set(object, object);
    },
    remove(object) {
      owners.delete(object);
      wishes.delete(object);
      removeFrom(realms, object, words.gone, (realm, link) => realm.route.exchange(words.remove(link.index, object)));
    },
    list(namespace, picture) {
      const byIndex = holders(picture.links, engine);
      const wordsOf = namespace === "host" ? words.wordsOf?.(picture) : undefined;
      return words.read(picture).flatMap((held): Found[] => {
        const holder = byIndex.get(held.index);
        if (holder === undefined) return [];
        const heir = held.heir === undefined ? undefined : byIndex.get(held.heir);
        const object = { ...held.object, namespace, link: holder.name } as unknown as O;
        const owner = owners.get(object) ?? heir?.owner ?? holder.owner;
        const wish = wordsOf && wishes.get(object);
        if (wish !== undefined) Object.assign(object, wordsOf?.(held, wish));
        return [{ object, ...(owner !== undefined && { owner }) }];
      });
    },
  };
}

const addressWords: Words<AddressObject> = {
  put: (index, o) => putAddress(index, o.address),
  remove: (index, o) => deleteAddress(index, o.address),
  gone: ["EADDRNOTAVAIL"],
  read: ({ realm }) =>
    realm
      .addresses()
      .filter(({ protocol }) => protocol === ourProtocol)
      .map(({ index, address }) => ({ index, object: { kind: "address", address } })),
};

/** An address of `link` in the family of `to`: one in whose subnet that is, else any. */
function sourceFor(addresses: readonly AddressInfo[], link: number | undefined, to: string): string | undefined {
  const target = parseCidr(to);
  const found = addresses
    .flatMap((one) => (one.index === link && one.isSource ? (parseCidr(one.address) ?? []) : []))
    .filter(({ family }) => family === target?.family);
  const near = found.find((own) => target !== undefined && contains(own, target)) ?? found[0];
  return near && addressText(near);
}

const routeWords: Words<RouteObject> = {
  put(index, { to, via, table, sourceOf, unreachable }, realm) {
    const source =
      sourceOf === undefined ? undefined : sourceFor(realm.addresses(), realm.link({ name: sourceOf })?.index, to);
    return putRoute(index, {
      to,
      ...(via !== undefined && { via }),
      ...(source !== undefined && { source }),
      ...(table !== undefined && { table }),
      ...(unreachable && { unreachable }),
    });
  },
  /** A route of the host that somebody else made stays: who made it relies on it. */
  begin(index, { namespace, to, table }, realm) {
    if (namespace !== "host" || table !== undefined) return;
    try {
      realm.route.exchange(addRoute(index, { to }));
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== "EEXIST") throw error;
      const there = realm.routes().filter((route) => route.to === to && route.table === undefined);
      if (there.length > 0 && there.every(({ protocol }) => protocol !== ourProtocol))
        throw new KernelError("EEXIST", `a route to ${to} exists and is not ours`);
    }
  },
  remove: deleteRoute,
  gone: ["ESRCH"],
  read: ({ realm }) =>
    realm
      .routes(ourProtocol)
      .filter(({ protocol }) => protocol === ourProtocol)
      .map(({ index, to, via, source, table, unreachable }) => ({
        index,
        object: {
          kind: "route",
          to,
          ...(via !== undefined && { via }),
          ...(table !== undefined && { table }),
          ...(unreachable && { unreachable }),
        },
        ...(source !== undefined && { source }),
      })),
  wordsOf({ realm, links }) {
    const indexes = new Map(links.map(({ name, index }) => [name, index]));
    let addresses: readonly AddressInfo[] | undefined; // read for the first that needs them: most hosts have none
    return ({ source }, { to, sourceOf }) => {
      if (sourceOf === undefined) return {};
      const index = indexes.get(sourceOf);
      // A parent that has another name for now still has its address.
      if (index === undefined) return { sourceOf };
      addresses ??= realm.addresses();
      return source === sourceFor(addresses, index, to) ? { sourceOf } : {};
    };
  },
};

const neighbourWords: Words<NeighbourObject> = {
  put: (index, o) => putNeighbour(index, o.address, o.mac),
  remove: (index, o) => deleteNeighbour(index, o.address),
  gone: ["ENOENT"],
  read(picture) {
    const ports = portsByMac(picture);
    return picture.realm.route
      .dump(dumpNeighbours)
      .flatMap((reply) => readNeighbour(reply.body) ?? [])
      .filter(({ protocol }) => protocol === ourProtocol)
      .map(({ index, address, mac }) => {
        const heir = ports.get(`${index}|${mac}`);
        return { index, object: { kind: "neighbour", address, mac }, ...(heir !== undefined && { heir }) };
      });
  },
};

/** A neighbour on a bridge is behind the port that the forwarding entry for its MAC names, and belongs to that port's owner. */
const portsByMac = (picture: Picture) =>
  new Map(readEntries(picture).map(({ index, bridge, mac }) => [`${bridge}|${mac}`, index]));
const readEntries = ({ forwardingEntries }: Picture) =>
  forwardingEntries.flatMap((reply) => readForwarding(reply.body) ?? []);

const forwardingWords: Words<ForwardingObject> = {
  put: (index, o) => putForwarding(index, o.mac),
  remove: (index, o) => deleteForwarding(index, o.mac),
  gone: ["ENOENT"],
  read: (picture) => readEntries(picture).map(({ index, mac }) => ({ index, object: { kind: "forwarding", mac } })),
};

/** As forwarding entries, but of a VXLAN link itself: where in the world a MAC is. */
const tunnelWords: Words<TunnelObject> = {
  linkType: "vxlan",
  put: (index, o) => putTunnel(index, o.mac, o.destination),
  remove: (index, o) => deleteTunnel(index, o.mac, o.destination),
  gone: ["ENOENT"],
  read: ({ forwardingEntries }) =>
    forwardingEntries
      .flatMap((reply) => readTunnel(reply.body) ?? [])
      .map(({ index, mac, destination }) => ({ index, object: { kind: "tunnel", mac, destination } })),
};

export const addressHandler = (realms: Realms, engine: string) => onLink(addressWords, realms, engine);
export const routeHandler = (realms: Realms, engine: string) => onLink(routeWords, realms, engine);
export const neighbourHandler = (realms: Realms, engine: string) => onLink(neighbourWords, realms, engine);
/** A forwarding entry carries no mark: static ones on our links are ours; so are a tunnel's. */
export const forwardingHandler = (realms: Realms, engine: string) => onLink(forwardingWords, realms, engine);
export const tunnelHandler = (realms: Realms, engine: string) => onLink(tunnelWords, realms, engine);
