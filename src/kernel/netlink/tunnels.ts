import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import { decodeAttributes, macBytes, macText } from "./attributes.ts";
import { flags, type Message } from "./message.ts";
import { attribute, bodyLength, bridgeFamily, neighbourBody, neighbourTypes, of, state } from "./neighbour-words.ts";

export interface TunnelInfo {
  /** Index of the VXLAN link. */
  readonly index: number;
  readonly mac: string;
  readonly destination: string;
}

/** The first byte of a group's MAC is odd (IEEE 802); all zeros is every MAC without an entry. */
export const hasManyDestinations = (mac: string): boolean =>
  mac === "00:00:00:00:00:00" || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;

/**
 * An entry in a VXLAN link's own table, as `bridge fdb append MAC dev LINK dst DESTINATION`. One MAC has one destination,
 * which is replaced; all zeros and groups get one more (drivers/net/vxlan/vxlan_core.c, vxlan_fdb_update_existing).
 */
export const putTunnel = (index: number, mac: string, destination: string): Message => ({
  type: neighbourTypes.new,
  flags: flags.create | (hasManyDestinations(mac) ? flags.append : flags.replace),
  body: neighbourBody(bridgeFamily, index, state.permanent, of.self),
  attributes: [
    [attribute.mac, macBytes(mac)],
    [attribute.address, addressBytes(destination)],
  ],
});

/** Only this destination goes; refused with ENOENT where the MAC has another. */
export const deleteTunnel = (index: number, mac: string, destination: string): Message => ({
  ...putTunnel(index, mac, destination),
  type: neighbourTypes.del,
  flags: 0,
});

/** @returns undefined for what is no permanent entry of a VXLAN link: a bridge's, one that was learned, or with another port or VNI than the link's */
export function readTunnel(bytes: Buffer): TunnelInfo | undefined {
  const isOfLink = bytes.readUInt8(0) === bridgeFamily && (bytes.readUInt8(10) & of.self) !== 0;
  if (!isOfLink || (bytes.readUInt16LE(8) & state.permanent) === 0) return undefined;
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const mac = a.get(attribute.mac);
  const destination = a.get(attribute.address);
  const isOther = a.has(attribute.port) || a.has(attribute.vni) || a.has(attribute.index);
  if (mac === undefined || destination === undefined || isOther) return undefined;
  return { index: bytes.readInt32LE(4), mac: macText(mac), destination: addressText(destination) };
}
