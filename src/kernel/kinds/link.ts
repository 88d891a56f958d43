import type { LinkObject, NamespaceName, VethLink, VxlanLink, WireguardLink } from "../../model/plan.ts";
import { type Found, KernelError } from "../kernel.ts";
import { readMark, writeMark } from "../mark.ts";
import {
  createBridge,
  createVeth,
  deleteGroup,
  deleteLink,
  groupLink,
  type LinkInfo,
  setLink,
  setPort,
} from "../netlink/links.ts";
import type { Message } from "../netlink/message.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import { isSameChild, makeChild } from "./child-link.ts";
import type { Picture } from "../picture.ts";
import type { Handler } from "./handler.ts";
import { defaultMtu, listLinks, mayAdopt, mtuLeftOpen } from "./link-listing.ts";
import { sysctl } from "./sysctl.ts";
import { hasPeer, withNamespace } from "./veth-peer.ts";
import { explained, isSameVxlan, makeVxlan } from "./vxlan-link.ts";
import { makeWireguard, setUp } from "./wireguard-link.ts";
import { isWireguard } from "../wireguard/find-device.ts";
import type { Keyring } from "../wireguard/keys.ts";

/** Links that go together wait for one another in this group ("tomb"). */
const leavingGroup = 0x746f6d62;
/** As many acknowledgements as a socket's receive buffer surely holds. */
const batch = 64;

/** Links of our own. Their mark is the alias. */
export class LinkHandler implements Handler<LinkObject> {
  readonly #realms: Realms;
  readonly #engine: string;
  readonly #keys: Keyring;
  readonly #wishes = createWishes<LinkObject>();

  constructor(realms: Realms, engine: string, keys: Keyring) {
    this.#realms = realms;
    this.#engine = engine;
    this.#keys = keys;
  }

  put(object: LinkObject, owner: string): void {
    const realm = this.#realms.get(object.namespace);
    const link = realm.link({ name: object.name });
    if (link === undefined) this.#create(realm, object, owner);
    else if (!this.#isOurs(link)) checkAdoption(object, link);
    else if (isSameThing(this.#realms, realm, object, link)) this.#change(realm, object, link, owner);
    else {
      realm.route.exchange(deleteLink(link.index));
      this.#create(realm, object, owner);
    }
    this.#wishes.remember(object, owner);
  }

  remove(object: LinkObject): void {
    const realm = this.#realms.find(object.namespace);
    const link = realm?.link({ name: object.name });
    this.#wishes.forget(object);
    if (realm === undefined || link === undefined || !this.#isOurs(link)) return;
    tolerate(["ENODEV"], () => realm.route.exchange(deleteLink(link.index)));
  }

  /** Links of one namespace. One by one each waits for the kernel (34 ms); all together wait once. */
  removeAll(objects: readonly LinkObject[]): void {
    const realm = this.#realms.find(objects[0]?.namespace ?? "host");
    const names = new Set(objects.map(({ name }) => name));
    const links = realm?.links().filter((link) => names.has(link.name) && this.#isOurs(link)) ?? [];
    for (const object of objects) this.#wishes.forget(object);
    if (realm === undefined || links.length === 0) return;
    for (let at = 0; at < links.length; at += batch) {
      const some = links.slice(at, at + batch).map((link) => groupLink(link.index, leavingGroup));
      tolerate(["ENODEV"], () => realm.route.exchange(...some));
    }
    tolerate(["ENODEV"], () => realm.route.exchange(deleteGroup(leavingGroup)));
  }

  list(namespace: NamespaceName, picture: Picture): Found[] {
    return listLinks(this.#realms, this.#engine, { namespace, picture }, this.#wishes.get);
  }

  #isOurs(link: LinkInfo): boolean {
    return readMark(link.alias)?.engine === this.#engine;
  }
  #mark(owner: string, peer = false): string {
    return writeMark({ engine: this.#engine, owner, peer });
  }
  #markPeer(name: string, owner: string): Message {
    return setLink({ name }, { alias: this.#mark(owner, true) });
  }

  /** A link of which only a part could be made (the bridge has no port left) goes again. */
  #create(realm: Realm, object: LinkObject, owner: string): void {
    try {
      if (object.type === "veth") this.#createVeth(realm, object, owner);
      else if (object.type === "vxlan") this.#createVxlan(realm, object, owner);
      else if (object.type === "wireguard") makeWireguard(this.#realms, this.#keys, object, this.#mark(owner));
      else if (object.type !== "bridge") makeChild(this.#realms, object, this.#mark(owner));
      else
        realm.route.exchange(
          createBridge(object),
          setLink({ name: object.name }, { alias: this.#mark(owner), ...mtuOf(object) }),
        );
    } catch (error) {
      this.remove(object);
      throw error;
    }
  }

  /** Linux takes no alias with a new link: the mark follows in the same system call. */
  #createVeth(realm: Realm, object: VethLink, owner: string): void {
    const by = { name: object.name };
    const { namespace, port: _, ...peer } = object.peer;
    const master = object.port === undefined ? {} : { master: this.#bridgeOf(realm, object, object.port.bridge) };
    withNamespace(this.#realms, namespace, (namespaceFd) => {
      const there = namespace === object.namespace ? {} : { namespaceFd };
      realm.route.exchange(
        createVeth(object, { ...peer, ...mtuOf(object), ...there }),
        setLink(by, { alias: this.#mark(owner), ...master }),
        ...(object.port === undefined ? [] : [setPort(by, object.port)]),
      );
    });
    if (object.port !== undefined) this.#silence(object);
    const there = this.#realms.get(namespace);
    there.route.exchange(this.#markPeer(peer.name, owner), ...this.#plug(there, object.peer));
  }

  /**
   * A port of a bridge is nobody who speaks: no IPv6. With it come routes to fe80::/64 and ff00::/8, and of each Linux looks
   * through those of all links (net/ipv6/ip6_fib.c, fib6_add_rt2node). It has none yet, for its far end is still down.
   */
  #silence({ namespace, name }: LinkObject): void {
    const key = `net.ipv6.conf.${name.replaceAll(".", "/")}.disable_ipv6`;
    tolerate(["ENOENT"], () => void sysctl(this.#realms.namespaces, namespace, key, "1"));
  }

  /** What makes a far end the port that it shall be; in another namespace it stays what it is. */
  #plug(realm: Realm, { namespace, name, port }: VethLink["peer"]): Message[] {
    if (port === undefined) return [];
    const by = { name };
    return [setLink(by, { master: this.#bridgeOf(realm, { namespace }, port.bridge) }), setPort(by, port)];
  }

  #createVxlan(realm: Realm, object: VxlanLink, owner: string): void {
    const { port } = object;
    const master = port === undefined ? {} : { master: this.#bridgeOf(realm, object, port.bridge) };
    const by = { index: makeVxlan(this.#realms, object, this.#mark(owner)) };
    explained(object, () =>
      realm.route.exchange(setLink(by, master), ...(port === undefined ? [] : [setPort(by, port)])),
    );
  }

  #changeWireguard(realm: Realm, object: WireguardLink, link: LinkInfo, owner: string): void {
    setUp(realm, this.#keys, object, link);
    realm.route.exchange(setLink({ index: link.index }, { alias: this.#mark(owner), ...mtuOf(object) }));
  }

  /** Index of a bridge that is ours, or that a plan of ours uses. @throws {KernelError} EEXIST for somebody else's */
  #bridgeOf(realm: Realm, { namespace }: Pick<LinkObject, "namespace">, name: string): number {
    const link = realm.link({ name });
    if (link === undefined) throw new KernelError("ENODEV", `no link ${name} in ${namespace}`);
    const used = this.#wishes.get(`link|${namespace}|${name}`)?.object.adopt === true;
    if (!this.#isOurs(link) && !used) throw new KernelError("EEXIST", `link ${name} exists and is not ours`);
    return link.index;
  }

  #change(realm: Realm, object: LinkObject, link: LinkInfo, owner: string): void {
    if (object.type === "wireguard") return this.#changeWireguard(realm, object, link, owner);
    const by = { index: link.index };
    const mac = object.mac === undefined || object.mac === link.mac ? {} : { mac: object.mac };
    if ("parent" in object) {
      const mtu = object.mtu ?? mtuLeftOpen(this.#realms, realm, link);
      realm.route.exchange(setLink(by, { alias: this.#mark(owner), mtu, ...mac }));
      return;
    }
    const mtu = object.mtu ?? defaultMtu;
    const port = object.type === "bridge" ? undefined : object.port;
    const master =
      object.type === "bridge" ? {} : { master: port === undefined ? 0 : this.#bridgeOf(realm, object, port.bridge) };
    const messages = [
      setLink(by, { alias: this.#mark(owner), mtu, ...mac, ...master }),
      ...(port === undefined ? [] : [setPort(by, port)]),
    ];
    if (object.type === "vxlan") explained(object, () => realm.route.exchange(...messages));
    else realm.route.exchange(...messages);
    if (object.type !== "veth") return;
    const { namespace, name } = object.peer;
    const there = this.#realms.get(namespace);
    // Told its own address, Linux forgets all neighbours of a link (net/core/neighbour.c, neigh_changeaddr).
    const peerMac = there.link({ name })?.mac === object.peer.mac ? {} : { mac: object.peer.mac };
    there.route.exchange(
      setLink({ name }, { ...peerMac, mtu }),
      this.#markPeer(name, owner),
      ...this.#plug(there, object.peer),
    );
  }
}

const mtuOf = ({ mtu }: LinkObject) => (mtu === undefined ? {} : { mtu });

/** @throws {KernelError} EEXIST when the plan does not want to share, or wants something else */
function checkAdoption(object: LinkObject, link: LinkInfo): void {
  if (object.adopt !== true) throw new KernelError("EEXIST", `link ${object.name} exists and is not ours`);
  if (!mayAdopt(object, link))
    throw new KernelError("EEXIST", `link ${object.name} is a ${link.type || "device"}, not a ${object.type}`);
}

/** Type and the place of the other end cannot be changed: such a link is made anew. */
function isSameThing(realms: Realms, realm: Realm, object: LinkObject, link: LinkInfo): boolean {
  if (object.type === "wireguard") return isWireguard(link);
  if (link.type !== object.type) return false;
  if (object.type === "bridge") return true;
  if (object.type === "veth") return hasPeer(realms, object.namespace, link, object.peer);
  if (object.type === "vxlan") return isSameVxlan(realms, realm, object, link);
  return isSameChild(realms, object, link, realm);
}
