import type { BridgePort } from "../../model/plan.ts";
import {
  type Attribute,
  decodeAttributes,
  encodeAttributes,
  macBytes,
  macText,
  readText,
  readU32,
  text,
  u8,
  u16,
  u32,
} from "./attributes.ts";
import { type ChildInfo, readChild } from "./child-links.ts";
import { readNames } from "./link-names.ts";
import { attribute, bodyLength, info, linkBody, linkTypes } from "./link-words.ts";
import { flags, type Message } from "./message.ts";
import { readVxlan, type VxlanInfo } from "./vxlan.ts";

const peerInfo = 1; // VETH_INFO_PEER
const stpState = 5; // IFLA_BR_STP_STATE
/** IFLA_BRPORT_*, proxyArp: PROXYARP_WIFI, suppressesNeighbours: NEIGH_SUPPRESS. */
const portFlags = {
  hairpin: 4,
  learning: 8,
  proxyArp: 12,
  suppressesNeighbours: 32,
  isolated: 33,
  locked: 39,
} as const;
/** Of a port that is spared both are off: IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD. */
const floods = [9, 30] as const;
const groupForward = 31; // IFLA_BRPORT_GROUP_FWD_MASK
/** All reserved addresses but 01-80-C2-00-00-01 (pause), which the kernel drops anyway (net/bridge/br_private.h, BR_GROUPFWD_MACPAUSE). */
const reserved = 0xfffd;
const withoutStatistics = 8; // RTEXT_FILTER_SKIP_STATS
const up = 1; // IFF_UP
const promiscuous = 0x100; // IFF_PROMISC
const lowerUp = 0x10000; // IFF_LOWER_UP: the cable, or what stands for it

/** A link as the kernel describes it. */
export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth` …; `""` for hardware and loopback. */
  readonly type: string;
  readonly up: boolean;
  /** False when the cable is out, or what the link stands on is down. */
  readonly carrier: boolean;
  /** True when somebody asked for it; not when the kernel only needs it for what stands on the link. */
  readonly promiscuous: boolean;
  readonly mtu: number;
  readonly mac: string;
  readonly alias?: string;
  /** More names of the same link. */
  readonly names: readonly string[];
  /** Index of the bridge whose port it is. */
  readonly master?: number;
  readonly port?: Omit<BridgePort, "bridge">;
  /** Index of the other end of a veth, or of the parent, and the number of its namespace when it is another one. */
  readonly peer?: { readonly index: number; readonly namespaceId?: number };
  readonly child?: ChildInfo;
  readonly vxlan?: VxlanInfo;
}

const body = (index: number, flag: number) => linkBody(index, flag, flag);

/** @param target number of another namespace in which the link is */
export const getLink = (by: { readonly name: string } | { readonly index: number }, target?: number): Message => ({
  type: linkTypes.get,
  flags: 0,
  body: body("index" in by ? by.index : 0, 0),
  attributes: [
    ...("name" in by ? [[attribute.name, text(by.name)] as const] : []),
    [attribute.filter, u32(withoutStatistics)],
    ...(target === undefined ? [] : [[attribute.targetNamespace, u32(target)] as const]),
  ],
});

export const dumpLinks: Message = {
  type: linkTypes.get,
  flags: 0,
  body: body(0, 0),
  attributes: [[attribute.filter, u32(withoutStatistics)]],
};

export const deleteLink = (index: number): Message => ({
  type: linkTypes.del,
  flags: 0,
  body: body(index, 0),
  attributes: [],
});

/** Puts a link into a group (a mere number), and leaves it as it is otherwise. */
export const groupLink = (index: number, group: number): Message => ({
  type: linkTypes.new,
  flags: 0,
  body: body(index, 0),
  attributes: [[attribute.group, u32(group)]],
});

/** Deletes all links of a group at once. */
export const deleteGroup = (group: number): Message => ({
  type: linkTypes.del,
  flags: 0,
  body: body(0, 0),
  attributes: [[attribute.group, u32(group)]],
});

interface NewLink {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
}
const identity = ({ name, mac, mtu }: NewLink): Attribute[] => [
  [attribute.name, text(name)],
  ...(mac === undefined ? [] : [[attribute.mac, macBytes(mac)] as const]),
  ...(mtu === undefined ? [] : [[attribute.mtu, u32(mtu)] as const]),
];

/** The bridge is up, without spanning tree. Its MTU is left to `setLink`: only then it does not follow its ports'. */
export const createBridge = ({ name, mac }: NewLink): Message => ({
  type: linkTypes.new,
  flags: flags.create | flags.exclusive,
  body: body(0, up),
  attributes: [
    ...identity({ name, ...(mac !== undefined && { mac }) }),
    [
      attribute.info,
      [
        [info.kind, text("bridge")],
        [info.data, [[stpState, u32(0)]]],
      ],
    ],
  ],
});

/**
 * The peer is made in its namespace at once, and down: Linux opens no end before both are there (drivers/net/veth.c).
 *@param peer.namespaceFd absent: the socket's own namespace
 */
export function createVeth(link: NewLink, peer: NewLink & { readonly namespaceFd?: number }): Message {
  const far = peer.namespaceFd === undefined ? [] : [[attribute.namespaceFd, u32(peer.namespaceFd)] as const];
  // The peer's attributes stand behind an ifinfomsg of its own.
  const nested = Buffer.concat([body(0, 0), encodeAttributes([...identity(peer), ...far])]);
  return {
    type: linkTypes.new,
    flags: flags.create | flags.exclusive,
    body: body(0, up),
    attributes: [
      ...identity(link),
      [
        attribute.info,
        [
          [info.kind, text("veth")],
          [info.data, [[peerInfo, nested]]],
        ],
      ],
    ],
  };
}

/** Brings a link up, and switches whether it takes in frames for every MAC. */
export const setPromiscuous = (index: number, on: boolean): Message => ({
  type: linkTypes.new,
  flags: 0,
  body: linkBody(index, on ? up | promiscuous : up, up | promiscuous),
  attributes: [],
});

/** What `setLink` changes; what is absent stays. The link is up afterwards. */
export interface LinkChange {
  /** A new name; only with a link that is down, on older kernels. */
  readonly rename?: string;
  readonly alias?: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Index of the bridge; 0 takes the link out of its bridge. */
  readonly master?: number;
}

export function setLink(by: { readonly name: string } | { readonly index: number }, change: LinkChange): Message {
  const { rename, alias, mac, mtu, master } = change;
  const list: Attribute[] = "name" in by ? [[attribute.name, text(by.name)]] : [];
  if (rename !== undefined) list.push([attribute.name, text(rename)]);
  if (alias !== undefined) list.push([attribute.alias, Buffer.from(alias)]);
  if (mac !== undefined) list.push([attribute.mac, macBytes(mac)]);
  if (mtu !== undefined) list.push([attribute.mtu, u32(mtu)]);
  if (master !== undefined) list.push([attribute.master, u32(master)]);
  return { type: linkTypes.new, flags: 0, body: body("index" in by ? by.index : 0, up), attributes: list };
}

/** As `setLink`, of a link that stays down, or up, as it is. */
export function setDormant(by: { readonly name: string } | { readonly index: number }, change: LinkChange): Message {
  return { ...setLink(by, change), body: body("index" in by ? by.index : 0, 0) };
}

/** Moves a link into another namespace, under the same name. */
export const moveLink = (name: string, namespaceFd: number): Message => ({
  type: linkTypes.new,
  flags: 0,
  body: body(0, 0),
  attributes: [
    [attribute.name, text(name)],
    [attribute.namespaceFd, u32(namespaceFd)],
  ],
});

/** Flags of a port that is in its bridge already. */
export function setPort(by: { readonly name: string } | { readonly index: number }, port: BridgePort): Message {
  const data = Object.entries(portFlags).map(
    ([name, type]) => [type, u8(Number(port[name as keyof typeof portFlags] ?? false))] as const,
  );
  const flooded = floods.map((type) => [type, u8(Number(port.isSpared !== true))] as const);
  const linkInfo: Attribute = [
    attribute.info,
    [
      [info.slaveKind, text("bridge")],
      [info.slaveData, [...data, ...flooded, [groupForward, u16(reserved)]]],
    ],
  ];
  const message = setLink(by, {});
  return { ...message, attributes: [...message.attributes, linkInfo] };
}

/** Asks for the number by which the socket's namespace knows another one. */
export const getNamespaceId = (fd: number): Message => ({
  type: linkTypes.getNamespaceId,
  flags: 0,
  body: Buffer.alloc(4),
  attributes: [[3, u32(fd)]], // NETNSA_FD
});

/** -1 when the namespace has no number yet: no link leads there. */
export const readNamespaceId = (bytes: Buffer): number =>
  decodeAttributes(bytes.subarray(4)).get(1)?.readInt32LE(0) ?? -1;

/** Reads a NEWLINK or DELLINK. */
export function readLink(bytes: Buffer): LinkInfo {
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const kinds = decodeAttributes(a.get(attribute.info) ?? Buffer.alloc(0));
  const alias = readText(a.get(attribute.alias));
  const master = readU32(a.get(attribute.master));
  const slave = readText(kinds.get(info.slaveKind)) === "bridge" ? kinds.get(info.slaveData) : undefined;
  const flag = bytes.readUInt32LE(8);
  const child = readChild(kinds);
  const vxlan = readVxlan(kinds);
  const peer = readU32(a.get(attribute.link));
  const namespaceId = a.get(attribute.linkNamespace)?.readInt32LE(0);
  return {
    index: bytes.readInt32LE(4),
    name: readText(a.get(attribute.name)) ?? "",
    type: readText(kinds.get(info.kind)) ?? "",
    up: (flag & up) !== 0,
    carrier: (flag & lowerUp) !== 0,
    promiscuous: (flag & promiscuous) !== 0,
    mtu: readU32(a.get(attribute.mtu)) ?? 0,
    mac: macText(a.get(attribute.mac) ?? Buffer.alloc(0)),
    names: readNames(a.get(attribute.properties)),
    ...(alias !== undefined && { alias }),
    ...(child !== undefined && { child }),
    ...(vxlan !== undefined && { vxlan }),
    ...(master !== undefined && { master }),
    ...(slave !== undefined && { port: readPort(slave) }),
    ...(peer !== undefined && { peer: { index: peer, ...(namespaceId !== undefined && { namespaceId }) } }),
  };
}

function readPort(bytes: Buffer): Omit<BridgePort, "bridge"> {
  const a = decodeAttributes(bytes);
  const flag = (type: number) => a.get(type)?.readUInt8(0) === 1;
  return {
    isolated: flag(portFlags.isolated),
    hairpin: flag(portFlags.hairpin),
    learning: flag(portFlags.learning),
    proxyArp: flag(portFlags.proxyArp),
    ...(flag(portFlags.suppressesNeighbours) && { suppressesNeighbours: true }),
    ...(flag(portFlags.locked) && { locked: true }),
    ...(floods.every((type) => a.has(type) && !flag(type)) && { isSpared: true }),
    ...(a.get(groupForward)?.readUInt16LE(0) !== reserved && { takesReserved: true }),
  };
}
