import type { IpAddress, MacAddress } from "../model/ids.ts";
import type { Announcements } from "../model/lan.ts";
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
