import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import type { VxlanLink } from "../../model/plan.ts";
import { type Attribute, decodeAttributes, macBytes, readText, readU32, text, u32, u8 } from "./attributes.ts";
import { attribute, info, linkBody, linkTypes } from "./link-words.ts";
import { flags, type Message } from "./message.ts";

/** IFLA_VXLAN_* (include/uapi/linux/if_link.h). */
const words = { vni: 1, local: 4, learning: 7, port: 15, local6: 17 } as const;

/** Which tunnel a link is an end of. */
export interface VxlanInfo extends Pick<VxlanLink, "vni" | "udpPort" | "local"> {
  /** False for every one of ours. */
  readonly learning: boolean;
}

/**
 * The link is down, and its socket comes to be in the namespace of the netlink socket. What is left out is the kernel's
 * default (drivers/net/vxlan/vxlan_core.c, vxlan_nl2conf): UDP checksums on both address families, the route's TTL, no
 * destination of its own.
 */
export const createVxlan = (link: VxlanLink, name: string): Message => ({
  type: linkTypes.new,
  flags: flags.create | flags.exclusive,
  body: linkBody(0, 0, 0),
  attributes: [
    [attribute.name, text(name)],
    ...(link.mac === undefined ? [] : [[attribute.mac, macBytes(link.mac)] as const]),
    ...(link.mtu === undefined ? [] : [[attribute.mtu, u32(link.mtu)] as const]),
    [
      attribute.info,
      [
        [info.kind, text("vxlan")],
        [info.data, dataOf(link)],
      ],
    ],
  ],
});

function dataOf({ vni, udpPort, local }: VxlanLink): Attribute[] {
  const address = addressBytes(local);
  const port = Buffer.alloc(2);
  port.writeUInt16BE(udpPort);
  return [
    [words.vni, u32(vni)],
    [address.length === 4 ? words.local : words.local6, address],
    [words.learning, u8(0)],
    [words.port, port],
  ];
}

/** Reads IFLA_LINKINFO; undefined for links of other types. A link without a local address has `""` there. */
export function readVxlan(linkInfo: ReadonlyMap<number, Buffer>): VxlanInfo | undefined {
  if (readText(linkInfo.get(info.kind)) !== "vxlan") return undefined;
  const data = decodeAttributes(linkInfo.get(info.data) ?? Buffer.alloc(0));
  const address = data.get(words.local) ?? data.get(words.local6);
  return {
    vni: readU32(data.get(words.vni)) ?? 0,
    udpPort: data.get(words.port)?.readUInt16BE(0) ?? 0,
    local: address === undefined ? "" : addressText(address),
    learning: data.get(words.learning)?.readUInt8(0) === 1,
  };
}
