import { addressText } from "../../lib/address-bytes.ts";
import { type Attribute, decodeAttributes, familyNumber, maskBits, splitCidr, u8 } from "./attributes.ts";
import { flags, type Message } from "./message.ts";
import { ourProtocol } from "./protocol.ts";

export const addressTypes = { new: 20, del: 21, get: 22 } as const;
const attribute = { address: 1, local: 2, broadcast: 4, protocol: 11 } as const; // IFA_*
const withoutDetection = 2; // IFA_F_NODAD
const unusable = 0x40 | 0x08; // IFA_F_TENTATIVE: being asked for on the link; IFA_F_DADFAILED
const onLinkOnly = 253; // RT_SCOPE_LINK
const bodyLength = 8; // struct ifaddrmsg

export interface AddressInfo {
  readonly index: number;
  readonly address: string;
  /** IFA_PROTO (Linux 5.18): who put it there; 0 when nobody said. */
  readonly protocol: number;
  /** True when the host can speak with it beyond the link that it is on. */
  readonly isSource: boolean;
}

function body(family: number, prefix: number, index: number): Buffer {
  const bytes = Buffer.from([family, prefix, family === 10 ? withoutDetection : 0, 0, 0, 0, 0, 0]);
  bytes.writeUInt32LE(index, 4);
  return bytes;
}

/** Adds the address, or marks the one that is there as ours. IPv6 addresses are usable at once (without DAD). */
export function putAddress(index: number, cidr: string): Message {
  const { address, prefix } = splitCidr(cidr);
  const broadcast: Attribute[] =
    address.length === 4 && prefix < 31 ? [[attribute.broadcast, maskBits(address, prefix, 1)]] : [];
  return {
    type: addressTypes.new,
    flags: flags.create | flags.replace,
    body: body(familyNumber(address), prefix, index),
    attributes: [
      [attribute.local, address],
      [attribute.address, address],
      ...broadcast,
      [attribute.protocol, u8(ourProtocol)],
    ],
  };
}

export function deleteAddress(index: number, cidr: string): Message {
  const { address, prefix } = splitCidr(cidr);
  const attributes: Attribute[] = [
    [attribute.local, address],
    [attribute.address, address],
  ];
  return { type: addressTypes.del, flags: 0, body: body(familyNumber(address), prefix, index), attributes };
}

export const dumpAddresses: Message = {
  type: addressTypes.get,
  flags: 0,
  body: Buffer.alloc(bodyLength),
  attributes: [],
};

export function readAddress(bytes: Buffer): AddressInfo {
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const address = a.get(attribute.local) ?? a.get(attribute.address) ?? Buffer.alloc(4);
  return {
    index: bytes.readUInt32LE(4),
    address: `${addressText(address)}/${bytes.readUInt8(1)}`,
    protocol: a.get(attribute.protocol)?.readUInt8(0) ?? 0,
    isSource: (bytes.readUInt8(2) & unusable) === 0 && bytes.readUInt8(3) < onLinkOnly,
  };
}
