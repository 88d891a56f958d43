import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import type { IpAddress, MacAddress } from "../../model/ids.ts";
import { macBytes } from "../frames.ts";

/** Option 53 (RFC 2132 section 9.6). */
export const messageTypes = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7 } as const;
export type MessageType = keyof typeof messageTypes;

/** What a client says. */
export interface ClientMessage {
  readonly type: "discover" | "request" | "decline" | "release";
  /** 32 bits, the same in the server's answers. */
  readonly transaction: number;
  readonly mac: MacAddress;
  /** Option 61: who the client is, whatever its MAC. 1 to 254 bytes. */
  readonly clientId: Buffer;
  /** The address that it has; only in a release. */
  readonly address?: IpAddress;
  /** The address that it wants. */
  readonly requested?: IpAddress;
  readonly server?: IpAddress;
  readonly hostname?: string;
}

/** What a server says. */
export interface ServerMessage {
  readonly type: MessageType;
  readonly transaction: number;
  /** `yiaddr`. */
  readonly address: IpAddress;
  readonly server?: IpAddress;
  readonly mask?: IpAddress;
  readonly router?: IpAddress;
  /** Seconds; 0xffffffff is for ever. */
  readonly seconds?: number;
  /** Option 56: why it refused. */
  readonly text?: string;
}

const option = {
  mask: 1,
  router: 3,
  hostname: 12,
  requested: 50,
  seconds: 51,
  overload: 52,
  type: 53,
  server: 54,
  wanted: 55,
  text: 56,
  clientId: 61,
} as const;
const end = 255;
const cookie = 0x63825363;
const fixedLength = 236; // of the header before the cookie (RFC 2131 section 2)
const shortest = 300; // bytes: some servers and relays drop less (RFC 1542 section 2.1)
const broadcast = 0x8000;

/** Answers are asked to be broadcast: the client has no address yet at which it could be reached. */
export function encode(message: ClientMessage): Buffer {
  const head = Buffer.alloc(fixedLength + 4);
  head.set([1, 1, 6, 0], 0); // BOOTREQUEST, Ethernet, six bytes
  head.writeUInt32BE(message.transaction >>> 0, 4);
  const isAnswered = message.type === "discover" || message.type === "request";
  head.writeUInt16BE(isAnswered ? broadcast : 0, 10);
  if (message.address !== undefined) addressBytes(message.address).copy(head, 12);
  macBytes(message.mac).copy(head, 28);
  head.writeUInt32BE(cookie, fixedLength);
  const options: [number, Buffer][] = [
    [option.type, Buffer.from([messageTypes[message.type]])],
    [option.clientId, message.clientId],
  ];
  if (message.requested !== undefined) options.push([option.requested, addressBytes(message.requested)]);
  if (message.server !== undefined) options.push([option.server, addressBytes(message.server)]);
  if (message.hostname !== undefined && isAnswered)
    options.push([option.hostname, Buffer.from(message.hostname.slice(0, 63))]);
  if (isAnswered)
    options.push([option.wanted, Buffer.from([option.mask, option.router, option.seconds, option.server])]);
  const written = options.map(([code, value]) => Buffer.concat([Buffer.from([code, value.length]), value]));
  const bytes = Buffer.concat([head, ...written, Buffer.from([end])]);
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, shortest - bytes.length))]);
}

/** Reads what a server sent to the client of this MAC; undefined for everything else. */
export function decode(bytes: Buffer, mac: MacAddress): ServerMessage | undefined {
  if (bytes.length < fixedLength + 4 || bytes[0] !== 2 || bytes.readUInt32BE(fixedLength) !== cookie) return undefined;
  if (!bytes.subarray(28, 34).equals(macBytes(mac))) return undefined;
  const options = readOptions(bytes.subarray(fixedLength + 4));
  const code = options.get(option.type)?.[0];
  const type = (Object.keys(messageTypes) as MessageType[]).find((name) => messageTypes[name] === code);
  if (type === undefined) return undefined;
  const address = (of: number) => {
    const value = options.get(of);
    return value === undefined || value.length < 4 ? undefined : addressText(value.subarray(0, 4));
  };
  const [server, mask, router] = [address(option.server), address(option.mask), address(option.router)];
  const seconds = options.get(option.seconds);
  const text = options.get(option.text);
  return {
    type,
    transaction: bytes.readUInt32BE(4),
    address: addressText(bytes.subarray(16, 20)),
    ...(server !== undefined && { server }),
    ...(mask !== undefined && { mask }),
    ...(router !== undefined && { router }),
    ...(seconds?.length === 4 && { seconds: seconds.readUInt32BE(0) }),
    ...(text !== undefined && { text: text.toString("latin1").replace(/[^ -~]/g, "?") }),
  };
}

/** Options by code; the parts of a long one belong together (RFC 3396). */
function readOptions(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length && bytes[at] !== end; ) {
    const code = bytes[at] ?? end;
    if (code === 0) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    found.set(code, Buffer.concat([found.get(code) ?? Buffer.alloc(0), bytes.subarray(at + 2, at + 2 + length)]));
    at += 2 + length;
  }
  return found;
}

/** 24 for 255.255.255.0; undefined for what is no mask. */
export function prefixOf(mask: IpAddress): number | undefined {
  const bits = [...addressBytes(mask)].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, "").length : undefined;
}
