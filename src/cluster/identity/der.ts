/** As much of DER (X.690) as certificates of ours need: written by hand, it costs no 20 MiB of library and no 7 ms each. */

/** Bytes that are no DER. The message never holds them. */
export class DerError extends Error {
  override readonly name = "DerError";
}

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** @returns one element: tag, length and the contents one after the other, at most 65,535 bytes of them */
export function element(type: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length > 0xffff) throw new DerError("an element is too long");
  const header =
    length < 0x80 ? [type, length] : length < 0x100 ? [type, 0x81, length] : [type, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

export const sequence = (...contents: readonly Uint8Array[]) => element(tag.sequence, ...contents);
export const bitString = (unused: number, bytes: Uint8Array) => element(tag.bitString, Buffer.of(unused), bytes);
export const objectId = (hex: string) => element(tag.oid, Buffer.from(hex, "hex"));

/**
 * The elements in the one element that fills `bytes`, with their headers.
 * @throws {DerError} when it is of another type, breaks off, goes on behind its end, or a length is not the shortest possible
 */
export function children(bytes: Buffer, type: number = tag.sequence): readonly Buffer[] {
  const found: Buffer[] = [];
  for (let rest = contentOf(bytes, type); rest.length > 0; rest = rest.subarray(found.at(-1)?.length))
    found.push(rest.subarray(0, elementLength(rest)));
  return found;
}

/** What is in the one element that fills `bytes`. @throws {DerError} as `children` */
export function contentOf(bytes: Buffer, type: number): Buffer {
  if (bytes[0] !== type || elementLength(bytes) !== bytes.length) throw new DerError("not the element expected");
  return bytes.subarray(headerLength(bytes));
}

/** Lengths of DER are definite and as short as can be (X.690 10.1); none here needs more than two bytes. */
function headerLength(bytes: Buffer): number {
  const first = bytes[1] ?? 0x80;
  if (first < 0x80) return 2;
  const shortest = first === 0x81 ? 0x80 : 0x100;
  const length = first === 0x81 ? bytes[2] : first === 0x82 && bytes.length > 3 ? bytes.readUInt16BE(2) : undefined;
  if (length === undefined || length < shortest) throw new DerError("a length is wrong");
  return first === 0x81 ? 3 : 4;
}

function elementLength(bytes: Buffer): number {
  const header = headerLength(bytes);
  const length = header + (header === 2 ? (bytes[1] ?? 0) : header === 3 ? (bytes[2] ?? 0) : bytes.readUInt16BE(2));
  if (length > bytes.length) throw new DerError("an element breaks off");
  return length;
}

/** @returns the bytes between PEM's lines of dashes (RFC 7468) */
export function toPem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
