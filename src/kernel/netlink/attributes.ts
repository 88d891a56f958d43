import { addressBytes } from "../../lib/address-bytes.ts";

/** One attribute of a netlink message (include/uapi/linux/netlink.h, struct nlattr); a list of attributes is nested. */
export type Attribute = readonly [type: number, value: Buffer | readonly Attribute[]];

const nestedFlag = 0x8000; // NLA_F_NESTED
const typeMask = 0x3fff; // NLA_TYPE_MASK
/** Messages and attributes begin at multiples of four bytes (NLMSG_ALIGN, NLA_ALIGN). */
export const align = (length: number): number => (length + 3) & ~3;

export function encodeAttributes(list: readonly Attribute[]): Buffer {
  return Buffer.concat(list.flatMap(([type, value]) => encodeOne(type, value)));
}

function encodeOne(type: number, value: Buffer | readonly Attribute[]): Buffer[] {
  const nested = !Buffer.isBuffer(value);
  const data = nested ? encodeAttributes(value) : value;
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + data.length, 0);
  head.writeUInt16LE(nested ? type | nestedFlag : type, 2);
  return [head, data, Buffer.alloc(align(data.length) - data.length)];
}

/** Values of a list whose attributes' types only count. */
export function decodeList(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.push(bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** Attributes by type; the last of a type wins. Stops at the first that does not fit into the buffer. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & typeMask, bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

export const u8 = (value: number): Buffer => Buffer.from([value & 0xff]);
export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value & 0xffff);
  return bytes;
}
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
/** Text with its zero byte. */
export const text = (value: string): Buffer => Buffer.from(`${value}\0`);

export const readU32 = (bytes: Buffer | undefined): number | undefined => bytes?.readUInt32LE(0);
export const readText = (bytes: Buffer | undefined): string | undefined =>
  bytes?.toString("utf8").replace(/\0.*$/s, "");

export const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");
export const macText = (bytes: Buffer): string => bytes.toString("hex").replace(/..(?=.)/g, "$&:");

/** `10.0.0.1/24` as its two parts. */
export function splitCidr(cidr: string): { readonly address: Buffer; readonly prefix: number } {
  const [address = "", prefix = ""] = cidr.split("/");
  return { address: addressBytes(address), prefix: Number(prefix) };
}

/** `bytes` with everything behind the first `prefix` bits set to `fill` (0 or 1). */
export function maskBits(bytes: Buffer, prefix: number, fill: 0 | 1): Buffer {
  return Buffer.from(
    bytes.map((byte, i) => {
      const host = 0xff >> Math.min(8, Math.max(0, prefix - 8 * i));
      return fill === 1 ? byte | host : byte & ~host;
    }),
  );
}

/** AF_INET or AF_INET6. */
export const familyNumber = (address: Buffer): number => (address.length === 4 ? 2 : 10);
