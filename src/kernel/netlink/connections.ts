import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import type { IpAddress } from "../../model/ids.ts";
import { type Attribute, decodeAttributes, u32 } from "./attributes.ts";
import type { Message } from "./message.ts";

/** Tracked connections (include/uapi/linux/netfilter/nfnetlink_conntrack.h). */
const types = { get: 0x0101, del: 0x0102 } as const; // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_*
/** CTA_* */
const attribute = { original: 1, reply: 2, status: 3, id: 12, zone: 18, filter: 25, statusMask: 26 } as const;
const tupleIp = 1; // CTA_TUPLE_IP
/** CTA_IP_*: which is which depends on the family. */
const source = { 2: 1, 10: 3 } as const;
const destination = { 2: 2, 10: 4 } as const;
const replyFlags = 2; // CTA_FILTER_REPLY_FLAGS
const bySource = 1; // CTA_FILTER_F_CTA_IP_SRC (net/netfilter/nf_internals.h)
const destinationTranslated = 1 << 5; // IPS_DST_NAT
const bodyLength = 4; // struct nfgenmsg
/**
 * What names one connection, as the kernel has told it. Its answers' tuple, for a client may connect anew from the same port to
 * the same place meanwhile: Linux makes that connection in the memory of the one before, and its id is the same then.
 */
const naming = [attribute.reply, attribute.id, attribute.zone];

type FamilyNumber = 2 | 10;

const bigEndian = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const message = (type: number, family: FamilyNumber, attributes: readonly Attribute[]): Message => ({
  type,
  flags: 0,
  body: Buffer.from([family, 0, 0, 0]),
  attributes,
});

/** Connections whose destination was translated: Linux leaves the others out since 5.15; before that it tells them all. */
export const dumpTranslated = (family: FamilyNumber): Message =>
  message(types.get, family, [
    [attribute.status, bigEndian(destinationTranslated)],
    [attribute.statusMask, bigEndian(destinationTranslated)],
  ]);

/**
 * At least those that are answered from an address, as far as Linux can tell: it compares IPv4 addresses since 5.8, and leaves
 * out of IPv6 ones just those that are equal (net/netfilter/nf_conntrack_netlink.c, ctnetlink_filter_match_tuple). What IPVS has
 * translated has no status that says so.
 */
export function dumpAnsweredFrom(address: IpAddress): Message {
  const bytes = addressBytes(address);
  if (bytes.length !== 4) return message(types.get, 10, []);
  return message(types.get, 2, [
    [attribute.reply, [[tupleIp, [[source[2], bytes]]]]],
    [attribute.filter, [[replyFlags, u32(bySource)]]],
  ]);
}

export interface ConnectionInfo {
  /** Where its answers come from. */
  readonly answeredFrom: IpAddress;
  readonly isTranslated: boolean;
  /** Forgets it. Refused with ENOENT when it is gone. */
  readonly forget: Message;
}

export function readConnection(bytes: Buffer): ConnectionInfo | undefined {
  const family = bytes.readUInt8(0) as FamilyNumber;
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const addressIn = (tuple: number, which: number) =>
    decodeAttributes(decodeAttributes(a.get(tuple) ?? Buffer.alloc(0)).get(tupleIp) ?? Buffer.alloc(0)).get(which);
  const from = addressIn(attribute.reply, source[family]);
  const to = addressIn(attribute.original, destination[family]);
  if (from === undefined || to === undefined) return undefined;
  const names = naming.flatMap((type): Attribute[] => {
    const value = a.get(type);
    // A tuple is nested, and to be marked so.
    return value === undefined ? [] : [[type === attribute.reply ? type | 0x8000 : type, value]];
  });
  return {
    answeredFrom: addressText(from),
    isTranslated: !from.equals(to),
    forget: message(types.del, family, names),
  };
}
