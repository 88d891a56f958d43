import { addressBytes } from "../../src/lib/address-bytes.ts";
import {
  arp,
  broadcastMac,
  checksum,
  ethernet,
  macBytes,
  neighbourAnnouncement,
  neighbourProbe,
  u16,
  udp,
} from "../../src/lan/frames.ts";
import type { IpAddress, MacAddress } from "../../src/model/ids.ts";

/** Somebody on the segment. */
export interface Party {
  readonly mac: MacAddress;
  readonly ip: IpAddress;
  readonly ip6: IpAddress;
  /** The address that Linux derives from the MAC. */
  readonly linkLocal: IpAddress;
}
export type Frames = Readonly<Record<string, Buffer>>;

/** What every frame here ends with, whatever its kind. */
export const mark = Buffer.alloc(48, "c0ffee11", "hex");
const marked = (frame: Buffer) => Buffer.concat([frame, mark]);
const all = (frames: Frames): Frames => Object.fromEntries(Object.entries(frames).map(([k, f]) => [k, marked(f)]));

const typed = (to: MacAddress, from: MacAddress, ...rest: readonly Buffer[]) =>
  Buffer.concat([macBytes(to), macBytes(from), ...rest]);
const payload = Buffer.alloc(8, 0x2e);

const udp4 = (to: Party, mac: MacAddress, address: IpAddress, port = 9) =>
  udp({ to: to.mac, from: mac }, { address, port: 67 }, { address: to.ip, port }, payload);

function ip6(to: MacAddress, mac: MacAddress, from: IpAddress, target: IpAddress, next: number, body: Buffer): Buffer {
  const addresses = Buffer.concat([addressBytes(from), addressBytes(target)]);
  const message = Buffer.from(body);
  const sum = checksum(addresses, u16(0), u16(body.length), Buffer.from([0, 0, 0, next]), body);
  sum.copy(message, next === 58 ? 2 : 6);
  const head = Buffer.concat([Buffer.from([0x60, 0, 0, 0]), u16(body.length), Buffer.from([next, 255])]);
  return ethernet(to, mac, "ip6", Buffer.concat([head, addresses, message]));
}
const udp6 = (to: Party, mac: MacAddress, address: IpAddress, port = 9) =>
  ip6(to.mac, mac, address, to.ip6, 17, Buffer.concat([u16(547), u16(port), u16(16), u16(0), payload]));

const claim = (to: Party, mac: MacAddress, senderMac: MacAddress, senderAddress: IpAddress) =>
  ethernet(
    to.mac,
    mac,
    "arp",
    arp({ operation: "reply", senderMac, senderAddress, targetMac: to.mac, targetAddress: to.ip }),
  );
const question = ({ mac: senderMac, ip: senderAddress }: Party, targetAddress: IpAddress) =>
  ethernet(
    broadcastMac,
    senderMac,
    "arp",
    arp({ operation: "request", senderMac, senderAddress, targetMac: "00:00:00:00:00:00", targetAddress }),
  );
const gratuitous = (mac: MacAddress, address: IpAddress) =>
  ethernet(
    broadcastMac,
    mac,
    "arp",
    arp({ operation: "request", senderMac: mac, senderAddress: address, targetMac: mac, targetAddress: address }),
  );

/** As an answer to the receiver's own question (RFC 4861 section 4.4): flags solicited and override. */
const advertisement = (to: Party, mac: MacAddress, source: IpAddress, target: IpAddress) =>
  ip6(
    to.mac,
    mac,
    source,
    to.ip6,
    58,
    Buffer.concat([
      Buffer.from([136, 0, 0, 0, 0x60, 0, 0, 0]),
      addressBytes(target),
      Buffer.from([2, 1]),
      macBytes(mac),
    ]),
  );

/** ICMP redirect (RFC 792): to the victim's gateway, go by the attacker. */
function redirect4(attacker: Party, victim: Party): Buffer {
  const old = udp4(attacker, victim.mac, victim.ip).subarray(14, 42);
  const body = Buffer.concat([Buffer.from([5, 1, 0, 0]), addressBytes(attacker.ip), old]);
  checksum(body).copy(body, 2);
  const addresses = Buffer.concat([addressBytes(attacker.ip), addressBytes(victim.ip)]);
  const head = Buffer.concat([Buffer.from([0x45, 0]), u16(20 + body.length), Buffer.from([0, 0, 0, 0, 64, 1])]);
  return ethernet(victim.mac, attacker.mac, "ip", Buffer.concat([head, checksum(head, addresses), addresses, body]));
}

/** What a container must not be able to send. @param owner whose addresses it would like to have */
export function forgedFrames(attacker: Party, victim: Party, owner: Party, gateway: Omit<Party, "linkLocal">): Frames {
  const { mac } = attacker;
  const ip = udp4(victim, mac, attacker.ip).subarray(12);
  const advert = Buffer.concat([
    Buffer.from([134, 0, 0, 0, 64, 0, 0xff, 0xff, ...Buffer.alloc(8), 3, 4, 64, 0xc0]),
    Buffer.from("ffffffffffffffff00000000", "hex"),
    addressBytes("2001:db8:bad::"),
  ]);
  const redirect6 = Buffer.concat([
    Buffer.from([137, 0, 0, 0, 0, 0, 0, 0]),
    addressBytes(attacker.linkLocal),
    addressBytes(gateway.ip6),
  ]);
  return all({
    "another's MAC": udp4(victim, owner.mac, owner.ip),
    "a MAC of nobody": udp4(victim, "02:11:22:33:44:55", attacker.ip),
    "IPv4 of another": udp4(victim, mac, owner.ip),
    "IPv4 of the gateway": udp4(victim, mac, gateway.ip),
    "IPv4 of the receiver": udp4(victim, mac, victim.ip),
    "IPv4 of the link": udp4(victim, mac, "169.254.1.1"),
    "IPv6 of another": udp6(victim, mac, owner.ip6),
    "IPv6 of the gateway": udp6(victim, mac, gateway.ip6),
    "IPv6 of another on the link": udp6(victim, mac, owner.linkLocal),
    "IPv6 of nobody": udp6(victim, mac, "::"),
    "ARP for another": claim(victim, mac, mac, owner.ip),
    "ARP for the gateway": claim(victim, mac, mac, gateway.ip),
    "ARP with another's MAC": claim(victim, mac, owner.mac, attacker.ip),
    "ARP to all for another": gratuitous(mac, owner.ip),
    "ARP to all for the gateway": gratuitous(mac, gateway.ip),
    "ARP of other lengths": withByte(claim(victim, mac, mac, attacker.ip), 18, 8),
    "advertisement for another": advertisement(victim, mac, owner.ip6, owner.ip6),
    "advertisement for another from oneself": advertisement(victim, mac, attacker.ip6, owner.ip6),
    "advertisement for the gateway": advertisement(victim, mac, attacker.ip6, gateway.ip6),
    "advertisement for another on the link": advertisement(victim, mac, attacker.ip6, owner.linkLocal),
    "advertisement to all": neighbourAnnouncement(mac, owner.ip6),
    "probe for another": neighbourProbe(mac, owner.ip6),
    "router advertisement": ip6("33:33:00:00:00:01", mac, attacker.linkLocal, "ff02::1", 58, advert),
    "ICMP redirect": redirect4(attacker, victim),
    "ICMPv6 redirect": ip6(victim.mac, mac, attacker.linkLocal, victim.ip6, 58, redirect6),
    "DHCP offer": udp4(victim, mac, attacker.ip, 68),
    "DHCPv6 reply": udp6(victim, mac, attacker.ip6, 546),
    "VLAN 0": typed(victim.mac, mac, u16(0x8100), u16(0), ip),
    "VLAN 5": typed(victim.mac, mac, u16(0x8100), u16(5), ip),
    "two tags": typed(victim.mac, mac, u16(0x88a8), u16(5), u16(0x8100), u16(0), ip),
    LLC: typed(victim.mac, mac, u16(46), Buffer.from([0x42, 0x42, 3])),
    "SNAP with IPv4": typed(victim.mac, mac, u16(60), Buffer.from([0xaa, 0xaa, 3, 0, 0, 0]), ip),
    LLDP: typed(victim.mac, mac, u16(0x88cc), payload),
    "unknown type": typed(victim.mac, mac, u16(0x9000), payload),
  });
}

function withByte(frame: Buffer, at: number, value: number): Buffer {
  frame[at] = value;
  return frame;
}

/** An everyday frame that is told from all others here. */
export const lastMark = Buffer.alloc(48, "1a57f4a3", "hex");
export const lastFrame = (sender: Party, to: Party): Buffer =>
  Buffer.concat([udp4(to, sender.mac, sender.ip), lastMark]);

/** To everybody, with the sender's own addresses. */
export const loudFrames = (sender: Party, free: Pick<Party, "ip">): Frames =>
  all({
    broadcast: question(sender, free.ip),
    multicast: udp(
      { to: "01:00:5e:01:02:03", from: sender.mac },
      { address: sender.ip, port: 9 },
      { address: "239.1.2.3", port: 9 },
      payload,
    ),
  });

/** What containers send every day, and what a router or the holder of a floating address sends. */
export function honestFrames(sender: Party, victim: Party, free: Pick<Party, "ip" | "ip6">): Frames {
  const { mac } = sender;
  return all({
    IPv4: udp4(victim, mac, sender.ip),
    IPv6: udp6(victim, mac, sender.ip6),
    "IPv6 of the link": udp6(victim, mac, sender.linkLocal),
    ARP: claim(victim, mac, mac, sender.ip),
    "ARP to all": question(sender, free.ip),
    advertisement: advertisement(victim, mac, sender.ip6, sender.ip6),
    "IPv4 from elsewhere": udp4(victim, mac, "203.0.113.9"),
    "IPv6 from elsewhere": udp6(victim, mac, "2001:db8:9::9"),
    "IPv4 that nobody has": udp4(victim, mac, free.ip),
    "IPv6 that nobody has": udp6(victim, mac, free.ip6),
    "ARP for what nobody has": claim(victim, mac, mac, free.ip),
    "advertisement for what nobody has": advertisement(victim, mac, free.ip6, free.ip6),
  });
}
