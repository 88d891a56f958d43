import type { Encryption } from "../model/network.ts";
import type { IpAddress } from "../model/ids.ts";
import type { WireguardEnd } from "../model/peer.ts";
import { encryptedUnderlay, type PlanObject } from "../model/plan.ts";

/**
 * What encrypted networks go through: a namespace with nothing in it but the host's end of WireGuard, and the way to the
 * others' ends. The last network takes it along.
 */
export function planUnderlay({ link, publicKey, udpPort, address, range, mtu }: Encryption): PlanObject[] {
  const namespace = encryptedUnderlay;
  return [
    { kind: "namespace", namespace },
    { kind: "link", type: "wireguard", namespace, name: link, mtu, publicKey, udpPort },
    // Whatever the host has for its own links: the addresses in there are IPv6.
    { kind: "sysctl", namespace, key: `net.ipv6.conf.${link}.disable_ipv6`, value: "0" },
    { kind: "address", namespace, link, address: `${address}/128` },
    { kind: "route", namespace, to: range, link },
  ];
}

/** Another host's end. @param dataPath where it is */
export const planUnderlayPeer = (
  { link, udpPort }: Encryption,
  { publicKey, address }: WireguardEnd,
  dataPath: IpAddress,
): PlanObject => ({
  kind: "wireguard",
  namespace: encryptedUnderlay,
  link,
  publicKey,
  endpoint: { address: dataPath, udpPort },
  address,
});
