import type { Encryption } from "../model/network.ts";
import type { IpAddress } from "../model/ids.ts";
import { encryptedUnderlay, type PlanObject } from "../model/plan.ts";
import { generationTo, type OwnEnd, type OwnKey, type WireguardEnd } from "../model/wireguard.ts";

/**
 * What encrypted networks go through: a namespace with nothing in it but the host's end of WireGuard. While keys are being
 * rotated that has two links, both with the host's address. The last network takes it along.
 */
export const planUnderlay = ({ address, mtu }: Encryption, own: OwnEnd | undefined): PlanObject[] => [
  { kind: "namespace", namespace: encryptedUnderlay },
  ...(own?.keys ?? []).flatMap((key) => planLink(key, address, mtu)),
];

function planLink({ link, publicKey, udpPort }: OwnKey, address: IpAddress, mtu: number): PlanObject[] {
  const namespace = encryptedUnderlay;
  return [
    { kind: "link", type: "wireguard", namespace, name: link, mtu, publicKey, udpPort },
    // Whatever the host has for its own links: the addresses in there are IPv6.
    { kind: "sysctl", namespace, key: `net.ipv6.conf.${link}.disable_ipv6`, value: "0" },
    { kind: "address", namespace, link, address: `${address}/128` },
  ];
}

/**
 * Another host's end: a peer of each link that has keys of its generation, and the way there, by one of them. Without a
 * generation in common it is not reached.
 * @param dataPath where it is
 */
export function planUnderlayPeer(own: OwnEnd, end: WireguardEnd, dataPath: IpAddress): PlanObject[] {
  const namespace = encryptedUnderlay;
  const { address } = end;
  const peers = own.keys.flatMap(({ generation, link, udpPort }): PlanObject[] => {
    const key = end.keys.find((one) => one.generation === generation);
    if (key === undefined) return [];
    const endpoint = { address: dataPath, udpPort };
    return [{ kind: "wireguard", namespace, link, publicKey: key.publicKey, endpoint, address }];
  });
  const used = generationTo(own, end);
  const way = own.keys.find(({ generation }) => generation === used);
  return [
    ...(way === undefined ? [] : [{ kind: "route", namespace, to: `${address}/128`, link: way.link } as const]),
    ...peers,
  ];
}
