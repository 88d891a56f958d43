import type { ChildLink, IpvlanFlag, IpvlanMode, MacvlanMode, VlanLink } from "../../model/plan.ts";
import { type Attribute, decodeAttributes, macBytes, readText, readU32, text, u16, u32 } from "./attributes.ts";
import { attribute, info, linkBody, linkTypes } from "./link-words.ts";
import { flags, type Message } from "./message.ts";

/** MACVLAN_MODE_* (include/uapi/linux/if_link.h). */
const macvlanModes: Readonly<Record<MacvlanMode, number>> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };
/** IPVLAN_MODE_*. */
const ipvlanModes: Readonly<Record<IpvlanMode, number>> = { l2: 0, l3: 1, l3s: 2 };
/** IPVLAN_F_*. */
const ipvlanFlags: Readonly<Record<IpvlanFlag, number>> = { bridge: 0, private: 1, vepa: 2 };
const macvlanMode = 1; // IFLA_MACVLAN_MODE
const ipvlanMode = 1; // IFLA_IPVLAN_MODE
const ipvlanFlag = 2; // IFLA_IPVLAN_FLAGS
const vlanId = 1; // IFLA_VLAN_ID

/** What links on a parent are told, and tell, besides what all links do. */
export type ChildInfo =
  | Pick<VlanLink, "type" | "vlan">
  | { readonly type: "macvlan"; readonly mode: MacvlanMode }
  | { readonly type: "ipvlan"; readonly mode: IpvlanMode; readonly flag: IpvlanFlag };

/** Where a new child comes to be. */
export interface ChildPlace {
  /** Its name at first: with `namespaceFd` it must be free in the socket's namespace too (net/core/rtnetlink.c). */
  readonly name: string;
  /** Index of the parent in the socket's namespace. */
  readonly parent: number;
  /** Absent: the socket's own namespace. */
  readonly namespaceFd?: number;
}

/** The link is down: so it can still be given its name. */
export const createChild = (link: ChildLink | VlanLink, { name, parent, namespaceFd }: ChildPlace): Message => ({
  type: linkTypes.new,
  flags: flags.create | flags.exclusive,
  body: linkBody(0, 0, 0),
  attributes: [
    [attribute.name, text(name)],
    [attribute.link, u32(parent)],
    // Linux gives an IPVLAN its parent's MAC.
    ...(link.mac === undefined || link.type === "ipvlan" ? [] : [[attribute.mac, macBytes(link.mac)] as const]),
    ...(link.mtu === undefined ? [] : [[attribute.mtu, u32(link.mtu)] as const]),
    ...(namespaceFd === undefined ? [] : [[attribute.namespaceFd, u32(namespaceFd)] as const]),
    [
      attribute.info,
      [
        [info.kind, text(link.type)],
        [info.data, dataOf(link)],
      ],
    ],
  ],
});

function dataOf(link: ChildInfo): Attribute[] {
  if (link.type === "vlan") return [[vlanId, u16(link.vlan)]];
  if (link.type === "macvlan") return [[macvlanMode, u32(macvlanModes[link.mode])]];
  return [
    [ipvlanMode, u16(ipvlanModes[link.mode])],
    [ipvlanFlag, u16(ipvlanFlags[link.flag])],
  ];
}

/** Reads IFLA_LINKINFO; undefined for links of other types. */
export function readChild(linkInfo: ReadonlyMap<number, Buffer>): ChildInfo | undefined {
  const data = decodeAttributes(linkInfo.get(info.data) ?? Buffer.alloc(0));
  const number16 = (type: number) => data.get(type)?.readUInt16LE(0) ?? 0;
  switch (readText(linkInfo.get(info.kind))) {
    case "vlan":
      return { type: "vlan", vlan: number16(vlanId) };
    case "macvlan":
      return { type: "macvlan", mode: named(macvlanModes, readU32(data.get(macvlanMode))) ?? "bridge" };
    case "ipvlan":
      return {
        type: "ipvlan",
        mode: named(ipvlanModes, number16(ipvlanMode)) ?? "l2",
        flag: named(ipvlanFlags, number16(ipvlanFlag)) ?? "bridge",
      };
    default:
      return undefined;
  }
}

function named<N extends string>(numbers: Readonly<Record<N, number>>, number: number | undefined): N | undefined {
  return (Object.keys(numbers) as N[]).find((name) => numbers[name] === number);
}
