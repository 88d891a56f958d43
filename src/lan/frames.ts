import { addressBytes, addressText } from "../lib/address-bytes.ts";
import type { IpAddress, MacAddress } from "../model/ids.ts";

/** Frames as they are on the wire: Ethernet, and in it ARP, IPv4 or IPv6. All numbers are in network order. */
const etherTypes = { arp: 0x0806, ip: 0x0800, ip6: 0x86dd } as const;
export const broadcastMac: MacAddress = "ff:ff:ff:ff:ff:ff";

export const macBytes = (mac: MacAddress): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");
export const macText = (bytes: Buffer): MacAddress => bytes.toString("hex").replace(/..(?=.)/g, "$&:");

export const u16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff]);

export const ethernet = (to: MacAddress, from: MacAddress, type: keyof typeof etherTypes, payload: Buffer): Buffer =>
  Buffer.concat([macBytes(to), macBytes(from), u16(etherTypes[type]), payload]);
const headerLength = 14;

/** Source MAC of a frame. */
export const senderOf = (frame: Buffer): MacAddress => macText(frame.subarray(6, 12));

/** The Internet checksum (RFC 1071) over all parts as one. */
export function checksum(...parts: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return u16(~sum);
}

export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly senderMac: MacAddress;
  readonly senderAddress: IpAddress;
  readonly targetMac: MacAddress;
  readonly targetAddress: IpAddress;
}

/** RFC 826: Ethernet and IPv4. */
export const arp = (p: ArpPacket): Buffer =>
  Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4]),
    u16(p.operation === "request" ? 1 : 2),
    macBytes(p.senderMac),
    addressBytes(p.senderAddress),
    macBytes(p.targetMac),
    addressBytes(p.targetAddress),
  ]);

/** Reads a frame; undefined when it is no ARP of Ethernet and IPv4. */
export function readArp(frame: Buffer): ArpPacket | undefined {
  const body = frame.subarray(headerLength);
  if (body.length < 28 || body.readUInt32BE(0) !== 0x00010800 || body.readUInt16BE(4) !== 0x0604) return undefined;
  return {
    operation: body.readUInt16BE(6) === 1 ? "request" : "reply",
    senderMac: macText(body.subarray(8, 14)),
    senderAddress: addressText(body.subarray(14, 18)),
    targetMac: macText(body.subarray(18, 24)),
    targetAddress: addressText(body.subarray(24, 28)),
  };
}

const allNodes = "ff02::1";
const icmp6 = 58;

/** An IPv6 packet of ICMPv6; hop limit 255 says that no router passed it on (RFC 4861 section 7.1). */
function icmp6Packet(from: IpAddress, to: IpAddress, message: Buffer): Buffer {
  const addresses = Buffer.concat([addressBytes(from), addressBytes(to)]);
  const pseudo = Buffer.concat([addresses, Buffer.from([0, 0]), u16(message.length), Buffer.from([0, 0, 0, icmp6])]);
  const body = Buffer.from(message);
  checksum(pseudo, message).copy(body, 2);
  return Buffer.concat([Buffer.from([0x60, 0, 0, 0]), u16(body.length), Buffer.from([icmp6, 255]), addresses, body]);
}

/** Who has `target`? Asked for nobody, as before an address is taken (RFC 4862 section 5.4.2). */
export function neighbourProbe(sender: MacAddress, target: IpAddress): Buffer {
  const bytes = addressBytes(target);
  const low = bytes.subarray(13);
  const group = addressText(Buffer.concat([Buffer.from("ff0200000000000000000001ff", "hex"), low]));
  const message = Buffer.concat([Buffer.from([135, 0, 0, 0, 0, 0, 0, 0]), bytes]);
  const groupMac = macText(Buffer.concat([Buffer.from("3333ff", "hex"), low]));
  return ethernet(groupMac, sender, "ip6", icmp6Packet("::", group, message));
}

/** `address` is at `mac`, told to all (RFC 4861 section 7.2.6): flag override. */
export function neighbourAnnouncement(mac: MacAddress, address: IpAddress): Buffer {
  const option = Buffer.concat([Buffer.from([2, 1]), macBytes(mac)]);
  const message = Buffer.concat([Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]), addressBytes(address), option]);
  return ethernet("33:33:00:00:00:01", mac, "ip6", icmp6Packet(address, allNodes, message));
}

/** The address that a neighbour advertisement is about; undefined for every other frame. */
export function readAdvertisement(frame: Buffer): IpAddress | undefined {
  const message = frame.subarray(headerLength + 40);
  return message.length >= 24 && message[0] === 136 ? addressText(message.subarray(8, 24)) : undefined;
}

/** A UDP packet in IPv4 in a frame. */
export function udp(
  frame: { readonly to: MacAddress; readonly from: MacAddress },
  from: { readonly address: IpAddress; readonly port: number },
  to: { readonly address: IpAddress; readonly port: number },
  payload: Buffer,
): Buffer {
  const addresses = Buffer.concat([addressBytes(from.address), addressBytes(to.address)]);
  const length = u16(8 + payload.length);
  const ports = Buffer.concat([u16(from.port), u16(to.port)]);
  const sum = checksum(addresses, Buffer.from([0, 17]), length, ports, length, u16(0), payload);
  const segment = Buffer.concat([ports, length, sum, payload]);
  const head = Buffer.concat([Buffer.from([0x45, 0]), u16(20 + segment.length), Buffer.from([0, 0, 0x40, 0, 64, 17])]);
  const packet = Buffer.concat([head, checksum(head, u16(0), addresses), addresses, segment]);
  return ethernet(frame.to, frame.from, "ip", packet);
}

/** Payload of a frame with UDP in IPv4; undefined for every other frame. */
export function readUdp(frame: Buffer): Buffer | undefined {
  const ip = frame.subarray(headerLength);
  if (ip.length < 28 || (ip[0] ?? 0) >> 4 !== 4 || ip[9] !== 17) return undefined;
  const start = ((ip[0] ?? 0) & 15) * 4;
  if (ip.length < start + 8) return undefined;
  return ip.subarray(start + 8, Math.max(start + 8, Math.min(ip.length, start + ip.readUInt16BE(start + 4))));
}
