import { closeSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import {
  type BridgePort,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanObject,
  type VethLink,
} from "../../model/plan.ts";
import { type Found, KernelError } from "../kernel.ts";
import { readMark, writeMark } from "../mark.ts";
import {
  createBridge,
  createVeth,
  deleteGroup,
  deleteLink,
  getLink,
  getNamespaceId,
  groupLink,
  type LinkInfo,
  readLink,
  readNamespaceId,
  setLink,
  setPort,
} from "../netlink/links.ts";
import type { Message } from "../netlink/message.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";

/** The MTU that Linux gives bridges and veths (ETH_DATA_LEN). */
const defaultMtu = 1500;
type Peer = VethLink["peer"];
/** Links that go together wait for one another in this group ("tomb"). */
const leavingGroup = 0x746f6d62;
/** As many acknowledgements as a socket's receive buffer surely holds. */
const batch = 64;
const nowhere: Peer = { namespace: "host", name: "", mac: "" };

export interface LinkHandler extends Handler<LinkObject> {
  /** Links of one namespace. One by one each waits for the kernel (34 ms), all together no longer than one. */
  removeAll(objects: readonly LinkObject[]): void;
}

export function linkHandler(realms: Realms, engine: string): LinkHandler {
  const wishes = createWishes<LinkObject>();
  const isOurs = (link: LinkInfo) => readMark(link.alias)?.engine === engine;

  function put(object: LinkObject, owner: string): void {
    const realm = realms.get(object.namespace);
    const link = realm.link({ name: object.name });
    if (link === undefined) createWhole(realm, object, owner);
    else if (!isOurs(link)) useForeign(object, link);
    else if (sameThing(realms, realm, object, link)) change(realm, object, link, owner);
    else {
      realm.route.exchange(deleteLink(link.index));
      createWhole(realm, object, owner);
    }
    wishes.remember(object, owner);
  }

  /** A link of which only a part could be made (the bridge has no port left) goes again. */
  function createWhole(realm: Realm, object: LinkObject, owner: string): void {
    try {
      create(realm, object, owner);
    } catch (error) {
      remove(object);
      throw error;
    }
  }

  function create(realm: Realm, object: LinkObject, owner: string): void {
    const by = { name: object.name };
    const alias = writeMark({ engine, owner, peer: false });
    // Linux takes no alias with a new link: the mark follows in the same system call.
    if (object.type === "bridge") {
      const mtu = object.mtu === undefined ? {} : { mtu: object.mtu };
      realm.route.exchange(createBridge(object), setLink(by, { alias, ...mtu }));
      return;
    }
    const master = object.port === undefined ? {} : { master: realm.indexOf(object.port.bridge) };
    const port = object.port === undefined ? [] : [setPort(by, object.port)];
    withPeerEnd(object, (namespaceFd) => {
      const { namespace, ...peer } = object.peer;
      const mtu = object.mtu === undefined ? {} : { mtu: object.mtu };
      const there = namespace === object.namespace ? {} : { namespaceFd };
      realm.route.exchange(
        createVeth(object, { ...peer, ...mtu, ...there }),
        setLink(by, { alias, ...master }),
        ...port,
      );
    });
    realms.get(object.peer.namespace).route.exchange(markPeer(object.peer.name, owner));
  }

  const markPeer = (name: string, owner: string): Message =>
    setLink({ name }, { alias: writeMark({ engine, owner, peer: true }) });

  function withPeerEnd(object: VethLink, body: (fd: number) => void): void {
    const fd = realms.namespaces.open(object.peer.namespace);
    try {
      body(fd);
    } finally {
      closeSync(fd);
    }
  }

  function change(realm: Realm, object: LinkObject, link: LinkInfo, owner: string): void {
    const by = { index: link.index };
    const mtu = object.mtu ?? defaultMtu;
    const mac = object.mac === undefined || object.mac === link.mac ? {} : { mac: object.mac };
    const port = object.type === "veth" ? object.port : undefined;
    const master = object.type === "bridge" ? {} : { master: port === undefined ? 0 : realm.indexOf(port.bridge) };
    const alias = writeMark({ engine, owner, peer: false });
    realm.route.exchange(
      setLink(by, { alias, mtu, ...mac, ...master }),
      ...(port === undefined ? [] : [setPort(by, port)]),
    );
    if (object.type === "bridge") return;
    const { namespace, name } = object.peer;
    realms.get(namespace).route.exchange(setLink({ name }, { mac: object.peer.mac, mtu }), markPeer(name, owner));
  }

  function remove(object: LinkObject): void {
    const realm = realms.find(object.namespace);
    const link = realm?.link({ name: object.name });
    wishes.forget(object);
    if (realm === undefined || link === undefined || !isOurs(link)) return;
    tolerate(["ENODEV"], () => realm.route.exchange(deleteLink(link.index)));
  }

  function removeAll(objects: readonly LinkObject[]): void {
    const realm = realms.find(objects[0]?.namespace ?? "host");
    const names = new Set(objects.map(({ name }) => name));
    const links = realm?.links().filter((link) => names.has(link.name) && isOurs(link)) ?? [];
    objects.forEach(wishes.forget);
    if (realm === undefined || links.length === 0) return;
    for (let at = 0; at < links.length; at += batch) {
      const some = links.slice(at, at + batch).map((link) => groupLink(link.index, leavingGroup));
      tolerate(["ENODEV"], () => realm.route.exchange(...some));
    }
    tolerate(["ENODEV"], () => realm.route.exchange(deleteGroup(leavingGroup)));
  }

  return {
    put,
    remove,
    removeAll,
    list: (namespace) => listLinks(realms, engine, namespace, (key) => wishes.get(key)?.object),
  };
}

/** @throws {KernelError} EEXIST when the plan does not want to share */
function useForeign(object: LinkObject, link: LinkInfo): void {
  if (object.adopt !== true) throw new KernelError("EEXIST", `link ${object.name} exists and is not ours`);
  if (link.type !== object.type)
    throw new KernelError("EEXIST", `link ${object.name} is a ${link.type || "device"}, not a ${object.type}`);
}

/** Type and the place of the other end cannot be changed: such a link is made anew. */
function sameThing(realms: Realms, realm: Realm, object: LinkObject, link: LinkInfo): boolean {
  if (link.type !== object.type) return false;
  if (object.type === "bridge") return true;
  const peer = peerReader(realms, object.namespace, realm)(link);
  return peer.namespace === object.peer.namespace && peer.name === object.peer.name;
}

function listLinks(
  realms: Realms,
  engine: string,
  namespace: NamespaceName,
  wishOf: (key: string) => LinkObject | undefined,
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
    const wish = wishOf(keyOf(object));
    return [
      { object: wish !== undefined && satisfies(wish, object, link) ? wish : shown(object, link), owner: mark.owner },
    ];
  });
}

/** A link that was there before us and that a plan uses. */
const adopted = (link: LinkInfo, wish: LinkObject | undefined): Found[] =>
  wish?.adopt === true && wish.type === link.type ? [{ object: wish }] : [];

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

/** Reads the far ends of veths; a far end in no namespace that we know has no name. */
function peerReader(realms: Realms, namespace: NamespaceName, realm: Realm): (link: LinkInfo) => Peer {
  let byNumber: Map<number, NamespaceName> | undefined;
  return ({ peer }) => {
    if (peer === undefined) return nowhere;
    if (peer.namespaceId === undefined) return readPeer(realm, namespace, peer.index);
    byNumber ??= numberedNamespaces(realms, realm);
    const there = byNumber.get(peer.namespaceId);
    return there === undefined ? nowhere : readPeer(realm, there, peer.index, peer.namespaceId);
  };
}

function readPeer(realm: Realm, namespace: NamespaceName, index: number, namespaceId?: number): Peer {
  try {
    const reply = realm.route.exchange(getLink({ index }, namespaceId))[0];
    if (reply === undefined) return nowhere;
    const { name, mac } = readLink(reply.body);
    return { namespace, name, mac };
  } catch (error) {
    // The namespace is just going.
    if (error instanceof KernelError && (error.code === "ENODEV" || error.code === "EINVAL")) return nowhere;
    throw error;
  }
}

/** The numbers by which links of this namespace name the others. */
function numberedNamespaces(realms: Realms, realm: Realm): Map<number, NamespaceName> {
  const found = new Map<number, NamespaceName>();
  for (const namespace of ["host" as const, ...realms.namespaces.names()]) {
    const fd = realms.namespaces.open(namespace);
    try {
      const reply = realm.route.exchange(getNamespaceId(fd))[0];
      if (reply !== undefined) found.set(readNamespaceId(reply.body), namespace);
    } finally {
      closeSync(fd);
    }
  }
  return found;
}
