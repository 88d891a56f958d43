import type { IpAddress, MacAddress } from "../model/ids.ts";
import type { Announcements, Segment, Whereabouts } from "../model/lan.ts";
import type { Ears } from "./ears.ts";
import { arp, broadcastMac, ethernet, neighbourAnnouncement } from "./frames.ts";

/**
 * Tells the LAN where addresses are from now on, so that nobody sends to who had them before (RFC 5227 section 3).
 * A link that goes meanwhile ends it.
 */
export function announce(
  ears: Ears,
  link: string,
  mac: MacAddress,
  addresses: readonly IpAddress[],
  { number, interval }: Announcements,
): void {
  const frames = addresses.map((address) =>
    address.includes(":") ? neighbourAnnouncement(mac, address) : gratuitousArp(mac, address),
  );
  const send = (left: number) => {
    try {
      const hearing = ears.listen(link, "arp", () => {});
      for (const frame of frames) hearing.send(frame);
      hearing.end();
    } catch {
      return; // nobody is there to be told
    }
    if (left > 1) setTimeout(send, interval, left - 1).unref();
  };
  if (frames.length > 0 && number > 0) send(number);
}

/**
 * Tells containers of a bridge, one by one, that an address is at another MAC than before. A bridge that answers for its
 * neighbours keeps what is gratuitous and for all from its ports (net/bridge/br_arp_nd_proxy.c); what is gratuitous counts at
 * once (net/ipv4/arp.c, arp_is_garp), where an answer would be too early for a second.
 * @param listeners their MACs
 */
export function tellMoved(
  ears: Ears,
  { namespace, link }: Segment,
  { mac, address }: Whereabouts,
  listeners: readonly MacAddress[],
): void {
  try {
    const hearing = ears.listen(link, "arp", () => {}, namespace);
    for (const listener of listeners)
      hearing.send(
        address.includes(":") ? to(listener, neighbourAnnouncement(mac, address)) : arpAnswer(listener, mac, address),
      );
    hearing.end();
  } catch {} // nobody is there to be told
}

/** The same frame for one listener. */
function to(listener: MacAddress, frame: Buffer): Buffer {
  Buffer.from(listener.replaceAll(":", ""), "hex").copy(frame);
  return frame;
}

function arpAnswer(listener: MacAddress, mac: MacAddress, address: IpAddress): Buffer {
  const packet = arp({
    operation: "reply",
    senderMac: mac,
    senderAddress: address,
    targetMac: mac,
    targetAddress: address,
  });
  return ethernet(listener, mac, "arp", packet);
}

function gratuitousArp(mac: MacAddress, address: IpAddress): Buffer {
  const packet = arp({
    operation: "request",
    senderMac: mac,
    senderAddress: address,
    targetMac: broadcastMac,
    targetAddress: address,
  });
  return ethernet(broadcastMac, mac, "arp", packet);
}
