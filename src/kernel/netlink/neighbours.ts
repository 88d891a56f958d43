import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import { decodeAttributes, familyNumber, macBytes, macText, readU32, u8 } from "./attributes.ts";
import { flags, type Message } from "./message.ts";
import { attribute, bodyLength, bridgeFamily, neighbourBody, neighbourTypes, of, state } from "./neighbour-words.ts";
import { ourProtocol } from "./protocol.ts";

export interface NeighbourInfo {
  readonly index: number;
  readonly address: string;
  readonly mac: string;
  readonly protocol: number;
}
export interface ForwardingInfo {
  /** Index of the port. */
  readonly index: number;
  /** Index of the bridge. */
  readonly bridge: number;
  readonly mac: string;
}

/** A permanent neighbour, in place of what the kernel knows of the address. */
export function putNeighbour(index: number, address: string, mac: string): Message {
  const bytes = addressBytes(address);
  return {
    type: neighbourTypes.new,
    flags: flags.create | flags.replace,
    body: neighbourBody(familyNumber(bytes), index, state.permanent),
    attributes: [
      [attribute.address, bytes],
      [attribute.mac, macBytes(mac)],
      [attribute.protocol, u8(ourProtocol)],
    ],
  };
}

export function deleteNeighbour(index: number, address: string): Message {
  const bytes = addressBytes(address);
  return {
    type: neighbourTypes.del,
    flags: 0,
    body: neighbourBody(familyNumber(bytes), index),
    attributes: [[attribute.address, bytes]],
  };
}

/** A static entry, as `bridge fdb replace MAC dev LINK master static`. */
export const putForwarding = (index: number, mac: string): Message => ({
  type: neighbourTypes.new,
  flags: flags.create | flags.replace,
  body: neighbourBody(bridgeFamily, index, state.noArp | state.reachable, of.master),
  attributes: [[attribute.mac, macBytes(mac)]],
});

export const deleteForwarding = (index: number, mac: string): Message => ({
  type: neighbourTypes.del,
  flags: 0,
  body: neighbourBody(bridgeFamily, index, 0, of.master),
  attributes: [[attribute.mac, macBytes(mac)]],
});

export const dumpNeighbours: Message = { type: neighbourTypes.get, flags: 0, body: neighbourBody(0), attributes: [] };
export const dumpForwarding: Message = {
  type: neighbourTypes.get,
  flags: 0,
  body: neighbourBody(bridgeFamily),
  attributes: [],
};
export const isForwarding = (bytes: Buffer): boolean => bytes.readUInt8(0) === bridgeFamily;

/** @returns undefined for an entry without a MAC, which still asks for it */
export function readNeighbour(bytes: Buffer): NeighbourInfo | undefined {
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const address = a.get(attribute.address);
  if (address === undefined || (address.length !== 4 && address.length !== 16)) return undefined;
  return {
    index: bytes.readInt32LE(4),
    address: addressText(address),
    mac: macText(a.get(attribute.mac) ?? Buffer.alloc(0)),
    protocol: a.get(attribute.protocol)?.readUInt8(0) ?? 0,
  };
}

/** @returns undefined for what is not a static entry of a bridge: learned, the bridge's own, or of one VLAN */
export function readForwarding(bytes: Buffer): ForwardingInfo | undefined {
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const mac = a.get(attribute.mac);
  const isStatic = (bytes.readUInt16LE(8) & (state.noArp | state.permanent)) === state.noArp;
  const bridge = (bytes.readUInt8(10) & of.self) === 0 ? readU32(a.get(attribute.master)) : undefined;
  if (mac === undefined || !isStatic || bridge === undefined || a.has(attribute.vlan)) return undefined;
  return { index: bytes.readInt32LE(4), bridge, mac: macText(mac) };
}
