import { setTimeout as sleep } from "node:timers/promises";
import type { IpAddress, MacAddress } from "../model/ids.ts";
import type { Ears } from "./ears.ts";
import { arp, broadcastMac, ethernet, neighbourProbe, readAdvertisement, readArp, senderOf } from "./frames.ts";

/** Milliseconds between questions, and after the last: machines of a LAN answer in less than one, asleep in some tens. */
const pauses = [20, 25] as const;
const noMac = "00:00:00:00:00:00";

/**
 * Asks on the LAN who has an address, as one does before taking it (RFC 5227 section 2.1.1, RFC 4862 section 5.4).
 * Two questions and some 45 ms instead of seconds: it is a probe, no promise.
 * @param sender the link's own MAC @returns the MAC of who has it, or undefined @throws {KernelError} ENODEV, ENETDOWN
 */
export async function probe(
  ears: Ears,
  link: string,
  sender: MacAddress,
  address: IpAddress,
): Promise<MacAddress | undefined> {
  const six = address.includes(":");
  let holder: MacAddress | undefined;
  const hearing = ears.listen(link, six ? "neighbour-advertisement" : "arp", (frame) => {
    const found = six ? readAdvertisement(frame) : claimed(frame, sender);
    if (found === address && senderOf(frame) !== sender) holder ??= senderOf(frame);
  });
  const question = six
    ? neighbourProbe(sender, address)
    : ethernet(
        broadcastMac,
        sender,
        "arp",
        arp({
          operation: "request",
          senderMac: sender,
          senderAddress: "0.0.0.0",
          targetMac: noMac,
          targetAddress: address,
        }),
      );
  try {
    for (const pause of pauses) {
      hearing.send(question);
      for (let waited = 0; waited < pause && holder === undefined; waited += 5) await sleep(5);
      if (holder !== undefined) break;
    }
    return holder;
  } finally {
    hearing.end();
  }
}

/**
 * The address that an ARP packet claims: who asks for one at the same time means to take it, too (RFC 5227 section 2.1.1).
 * Of two hosts of ours that ask at once the one with the lower MAC gets it.
 */
function claimed(frame: Buffer, sender: MacAddress): IpAddress | undefined {
  const packet = readArp(frame);
  if (packet?.operation !== "request" || packet.senderAddress !== "0.0.0.0") return packet?.senderAddress;
  return packet.senderMac < sender ? packet.targetAddress : undefined;
}
