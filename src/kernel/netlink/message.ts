import { align, type Attribute, decodeAttributes, encodeAttributes, readText } from "./attributes.ts";

/** Flags of a request (include/uapi/linux/netlink.h). REQUEST and ACK are set by the socket. */
export const flags = {
  request: 1,
  ack: 4,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  dump: 0x300,
} as const;
const multi = 2; // NLM_F_MULTI
const interrupted = 0x10; // NLM_F_DUMP_INTR
const capped = 0x100; // NLM_F_CAPPED
const withAttributes = 0x200; // NLM_F_ACK_TLVS
const typeError = 2; // NLMSG_ERROR
const typeDone = 3; // NLMSG_DONE
const extendedText = 1; // NLMSGERR_ATTR_MSG
const headerLength = 16;

export interface Message {
  readonly type: number;
  readonly flags: number;
  /** The fixed part that the type demands (struct ifinfomsg, rtmsg …). */
  readonly body: Buffer;
  readonly attributes: readonly Attribute[];
}

/** What the kernel sent. `result` ends an exchange: an errno, 0 when all went well. */
export type Answer =
  | { readonly kind: "message"; readonly sequence: number; readonly type: number; readonly body: Buffer }
  | { readonly kind: "result"; readonly sequence: number; readonly errno: number; readonly text?: string }
  | { readonly kind: "interrupted"; readonly sequence: number };

export function encodeMessage(message: Message, sequence: number): Buffer {
  const attributes = encodeAttributes(message.attributes);
  const header = Buffer.alloc(headerLength);
  header.writeUInt32LE(headerLength + message.body.length + attributes.length, 0);
  header.writeUInt16LE(message.type, 4);
  header.writeUInt16LE(message.flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, message.body, attributes]);
}

/** Reads one datagram. A dump that changed while it was read is told by `interrupted`, before its end. */
export function decodeMessages(bytes: Buffer): Answer[] {
  const found: Answer[] = [];
  for (let at = 0; at + headerLength <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < headerLength || at + length > bytes.length) break;
    const flag = bytes.readUInt16LE(at + 6);
    const sequence = bytes.readUInt32LE(at + 8);
    if ((flag & interrupted) !== 0 && (flag & multi) !== 0) found.push({ kind: "interrupted", sequence });
    found.push(decodeOne(bytes.readUInt16LE(at + 4), flag, sequence, bytes.subarray(at + headerLength, at + length)));
    at += align(length);
  }
  return found;
}

function decodeOne(type: number, flag: number, sequence: number, body: Buffer): Answer {
  if (type !== typeError && type !== typeDone) return { kind: "message", sequence, type, body: Buffer.from(body) };
  const errno = body.length < 4 ? 0 : Math.abs(body.readInt32LE(0));
  const explained = (flag & withAttributes) === 0 ? undefined : explanation(type, flag, body);
  return { kind: "result", sequence, errno, ...(explained !== undefined && { text: explained }) };
}

/** After the errno an ERROR repeats the request: only its header when capped (Documentation/userspace-api/netlink/intro.rst). */
function explanation(type: number, flag: number, body: Buffer): string | undefined {
  const repeated = type === typeDone ? 0 : (flag & capped) !== 0 ? headerLength : align(body.readUInt32LE(4));
  return readText(decodeAttributes(body.subarray(4 + repeated)).get(extendedText));
}
