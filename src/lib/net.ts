import { isIP } from "node:net";
import { Address4, Address6 } from "ip-address";

export type AddressFamily = 4 | 6;

/** An address as a number: 32 bits for IPv4, 128 for IPv6. */
export interface ParsedAddress {
  readonly family: AddressFamily;
  readonly number: bigint;
}
/** A block of addresses; `number` may have bits below the prefix until it is masked. */
export interface ParsedCidr extends ParsedAddress {
  /** 0 to 32 or 128. */
  readonly prefix: number;
}

export const bitsOf = (family: AddressFamily) => (family === 4 ? 32 : 128);

/** Reads an address as Go's netip does: four decimal parts without leading zeros, or RFC 4291 text without a zone. */
export function parseAddress(text: string): ParsedAddress | undefined {
  const family = isIP(text);
  if (family === 4) return { family, number: new Address4(text).bigInt() };
  if (family === 6 && !text.includes("%")) return { family, number: new Address6(text).bigInt() };
  return undefined;
}

/** Reads `10.0.0.1/24`; undefined when it is not an address with a prefix length. */
export function parseCidr(text: string): ParsedCidr | undefined {
  const at = text.lastIndexOf("/");
  const address = parseAddress(text.slice(0, Math.max(at, 0)));
  const length = text.slice(at + 1);
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const prefix = Number(length);
  return prefix > bitsOf(address.family) ? undefined : { ...address, prefix };
}

/** Canonical text: dotted, or RFC 5952. */
export function addressText({ family, number }: ParsedAddress): string {
  return family === 4 ? Address4.fromBigInt(number).correctForm() : Address6.fromBigInt(number).correctForm();
}
export const cidrText = (cidr: ParsedCidr) => `${addressText(cidr)}/${cidr.prefix}`;

const hostBits = (cidr: ParsedCidr) => BigInt(bitsOf(cidr.family) - cidr.prefix);

/** The block's first address: host bits cleared. */
export const masked = (cidr: ParsedCidr): ParsedCidr => ({
  ...cidr,
  number: (cidr.number >> hostBits(cidr)) << hostBits(cidr),
});
export const sizeOf = (cidr: ParsedCidr): bigint => 1n << hostBits(cidr);
export const lastOf = (cidr: ParsedCidr): bigint => masked(cidr).number + sizeOf(cidr) - 1n;

/** True when `address` lies in `cidr`. */
export function contains(cidr: ParsedCidr, address: ParsedAddress): boolean {
  return cidr.family === address.family && address.number >> hostBits(cidr) === cidr.number >> hostBits(cidr);
}
/** True when the two blocks share an address: then one contains the other's first. */
export const overlaps = (a: ParsedCidr, b: ParsedCidr) => contains(a, masked(b)) || contains(b, masked(a));

/** True for a host's own address that it alone reaches (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3). */
export const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1";
