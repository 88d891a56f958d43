/*
 * What a container may send onto a bridge of ours
 *
 * Its frames are looked at where they come in, at its port, before the bridge has seen them: on the root or on a leaf. The map
 * `ports` leads to the chain of its network. What it sends with its own addresses is let through by the base's chains
 * (dataplane/frames.ts), whose rules are the same for all networks; what is left has a sender that it does not have, and
 * is let through here when nobody has it: a container may be a router, or hold an address that floats.
 */
import { addressBytes } from "../lib/address-bytes.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { IpAddress, MacAddress, NetworkId } from "../model/ids.ts";
import type { NamespaceName, PlanObject } from "../model/plan.ts";
import { portName } from "./cable.ts";
import { familyOf } from "./interface.ts";

const linkLocal = { ip: "169.254.0.0/16", ip6: "fe80::/10" } as const;

const frameChain = (id: NetworkId) => `frames_${id.slice(0, 12)}`;

/** What the rules have to know of a network. */
export interface FrameWish {
  readonly id: NetworkId;
  readonly namespace: NamespaceName;
  readonly pools: readonly AddressPool[];
  /** The host has the gateways' addresses on the network. */
  readonly hasGateways: (pool: AddressPool) => boolean;
  /** Multicast is copied to other hosts: no port may send more of it than of broadcast. */
  readonly copiesMulticast: boolean;
}

/** The network's chain, and the addresses that are no container's to use. */
export function planFrames({ id, namespace, pools, hasGateways, copiesMulticast }: FrameWish): PlanObject[] {
  const rules = [
    "meta pkttype broadcast jump storm",
    ...(copiesMulticast ? ["meta pkttype multicast jump storm"] : []),
    "jump own",
    ...pools.flatMap((pool) => (familyOf(pool.subnet) === "ip" ? rules4(pool) : rules6(pool))),
    "drop",
  ];
  return [
    { kind: "chain", namespace, family: "bridge", name: frameChain(id), rules },
    ...pools.flatMap((pool) => (hasGateways(pool) ? takenAddress(namespace, pool.gateway) : [])),
  ];
}

/**
 * An address that somebody on another network has may come on its way to a container of this one: by a router between the two. To
 * the host, and so to the world, it would be a lie.
 */
function rules4({ subnet, gateway }: AddressPool): string[] {
  return [
    `arp saddr ip ${subnet} arp saddr ip != @taken accept`,
    `arp saddr ip != ${subnet} arp saddr ip != ${linkLocal.ip} accept`,
    `ip saddr != @taken ip saddr != ${linkLocal.ip} accept`,
    `ip saddr != ${subnet} ip saddr != ${linkLocal.ip} ip daddr ${subnet} ip daddr != ${gateway} accept`,
  ];
}

function rules6({ subnet, gateway }: AddressPool): string[] {
  return [
    "jump nobodys_ip6",
    `ip6 saddr != ${subnet} ip6 saddr != ${linkLocal.ip6} ip6 daddr ${subnet} ip6 daddr != ${gateway} accept`,
  ];
}

/** What lets a container send: the way from its port to the network's chain, and its own addresses. */
export function endpointFrames(namespace: NamespaceName, endpoint: Endpoint): PlanObject[] {
  const { id, networkId, mac, linkLocal: extra } = endpoint;
  const addresses = endpoint.addresses.map(({ address }) => address);
  const own = [...addresses, ...extra];
  // With IPv6 Linux has an address of the link by itself (RFC 4291 appendix A).
  if (own.some((address) => familyOf(address) === "ip6")) own.push(linkLocalAddress(mac));
  const port = `"${portName(id)}"`;
  return [
    { kind: "element", namespace, family: "bridge", set: "ports", key: port, value: `jump ${frameChain(networkId)}` },
    ...own.map((address): PlanObject => {
      const set = familyOf(address) === "ip" ? "sources" : "sources6";
      return { kind: "element", namespace, family: "bridge", set, key: `${port} . ${mac} . ${addressKey(address)}` };
    }),
    ...addresses.map((address) => takenAddress(namespace, address)),
  ];
}

/** Somebody has it: no other container may send from it. */
export const takenAddress = (namespace: NamespaceName, address: IpAddress): PlanObject => ({
  kind: "element",
  namespace,
  family: "bridge",
  set: familyOf(address) === "ip" ? "taken" : "taken6",
  key: addressKey(address),
});

/** As in the sets of `frameBase`: IPv6 addresses are numbers there, as nft prints them. */
function addressKey(address: IpAddress): string {
  if (familyOf(address) === "ip") return address;
  return `0x${addressBytes(address)
    .toString("hex")
    .replace(/^0+(?=.)/, "")}`;
}

/** What Linux makes of a MAC: `fe80::` and the modified EUI-64 (RFC 4291 appendix A). */
function linkLocalAddress(mac: MacAddress): IpAddress {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(":").map((part) => Number.parseInt(part, 16));
  const groups = [((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f];
  return `fe80::${groups.map((group) => group.toString(16)).join(":")}`;
}
