/*
 * The way of one packet
 *
 * Container A (10.0.1.2) to container B (10.0.1.3) on another host. A's eth0 is a veth whose other end `veth<id>` is a
 * port of `br0` in the network's own namespace. A asks ARP for B, and br0 itself answers: every container's address is
 * written as its neighbour, of this host's and of the others'. The frame to B's MAC goes, by the forwarding entry, to
 * the port `vxlan0`, whose own table says at which host's address B is. vxlan0's socket is in the host's namespace: the
 * host sends the frame in UDP to that host, which lets it in because it comes from a known end (dataplane/base.ts) and
 * hands it to vxlan0 of the same VNI; there it goes over br0 to B's port.
 *
 * With `encrypted` vxlan0's socket is not in the host's namespace but in one that has nothing in it but a WireGuard link
 * (drivers/underlay.ts), and the addresses between which it goes are those that the hosts have in there. Where A's eth0 is
 * gone, the network's subnet is unreachable to A: its default route would lead there in clear.
 *
 * A frame to a MAC or an address that nobody has goes to no other host: vxlan0's table has no entry for it. With
 * multicast=true there is one, to every host of the network. The way out of the network is not here: br0 has no address,
 * and a container's default route leads through another network.
 */
import { macFrom } from "../../lib/mac.ts";
import type { IpAddress, MacAddress } from "../../model/ids.ts";
import type { Segment } from "../../model/lan.ts";
import { type Network, type Tunnel, tunnelOverhead } from "../../model/network.ts";
import {
  encryptedUnderlay,
  everyMac,
  type NamespaceName,
  type NeighbourObject,
  type PlanObject,
  type VxlanLink,
} from "../../model/plan.ts";
import { cable } from "../cable.ts";
import type { EndpointView, LeafView, NetworkView, PeerView, TunnelEndView } from "../driver.ts";
import { endpointFrames, planFrames, takenAddress } from "../frames.ts";
import { familyOf, insideOf, interfaceObjects } from "../interface.ts";
import { endpointForwarding, endpointPort, planLeafBridge, type Tree } from "../leaf.ts";
import { bridge, leafNames, vxlan } from "./names.ts";
import { encryptionOverhead, type OverlayOptions } from "./options.ts";

/** One string for all that is in there: there may be ten thousands of entries. */
const namespaces = new WeakMap<Network, NamespaceName>();
const namespaceOf = (network: Network): NamespaceName =>
  namespaces.getOrInsertComputed(network, ({ id }) => `network:${id}`);

/** Where the containers of this host ask each other for addresses. */
export const segmentOf = (network: Network): Segment => ({ namespace: namespaceOf(network), link: bridge });

/** Where the network's tunnel has its socket, and between which addresses it goes. */
type Way = Pick<VxlanLink, "local" | "underlay">;

/** Undefined while an encrypted network has no encryption on this host: nothing of it may leave in clear. */
function wayOf({ local, encryption }: Tunnel, { encrypted }: OverlayOptions): Way | undefined {
  if (!encrypted) return { local };
  return encryption === undefined ? undefined : { local: encryption.address, underlay: encryptedUnderlay };
}

/** Bytes of the containers' packets: what fits through the tunnel of this host, or less when the user says so. */
function mtuOf({ local, mtu }: Tunnel, { outerMtu, encrypted }: OverlayOptions): number {
  const most = outerMtu === undefined ? mtu : Math.min(mtu, outerMtu - tunnelOverhead[familyOf(local)]);
  return most - (encrypted ? encryptionOverhead : 0);
}

/**
 * Between the hosts something may carry less than their links do, and tell nobody: switches drop what is too large, firewalls drop
 * ICMP. A container's TCP then finds the size by itself (RFC 4821), after two packets that were lost in vain, some three seconds.
 */
export const narrowPaths = { "net.ipv4.tcp_mtu_probing": "1", "net.ipv4.tcp_retries1": "2" } as const;

/** The segment on this host, and its end of the tunnel; nothing where the host takes no part. */
export function planNetwork(view: NetworkView, options: OverlayOptions): PlanObject[] {
  const { network, pools } = view;
  const { tunnel } = network;
  if (tunnel === undefined) return [];
  const namespace = namespaceOf(network);
  const mtu = mtuOf(tunnel, options);
  const six = pools.some((pool) => familyOf(pool.subnet) === "ip6");
  return [
    { kind: "namespace", namespace },
    // Ports are no members of the segment: they must not speak for themselves.
    sysctl(namespace, "default.disable_ipv6", "1"),
    { kind: "link", type: "bridge", namespace, name: bridge, mtu, mac: macFrom(network.id, bridge) },
    // Linux takes IPv6 neighbours only where IPv6 is on; without an address of its own the bridge is still silent.
    ...(six ? [sysctl(namespace, `${bridge}.addr_gen_mode`, "1")] : []),
    sysctl(namespace, `${bridge}.disable_ipv6`, six ? "0" : "1"),
    ...planFrames({
      id: network.id,
      namespace,
      pools,
      hasGateways: () => true,
      copiesMulticast: options.multicast,
    }),
    ...tunnelLink(network, tunnel, options),
  ];
}

const sysctl = (namespace: NamespaceName, key: string, value: string): PlanObject => ({
  kind: "sysctl",
  namespace,
  key: `net.ipv6.conf.${key}`,
  value,
});

function tunnelLink(network: Network, tunnel: Tunnel, options: OverlayOptions): PlanObject[] {
  const { id, vni } = network;
  const way = wayOf(tunnel, options);
  if (vni === undefined || way === undefined) return [];
  const { udpPort } = tunnel;
  return [
    {
      kind: "link",
      type: "vxlan",
      namespace: namespaceOf(network),
      name: vxlan,
      mtu: mtuOf(tunnel, options),
      mac: macFrom(id, vxlan),
      vni,
      udpPort,
      ...way,
      port: {
        bridge,
        isolated: false,
        hairpin: false,
        learning: false,
        proxyArp: false,
        suppressesNeighbours: true,
      },
    },
  ];
}

const treeOf = (network: Network, tunnel: Tunnel, options: OverlayOptions): Tree => ({
  namespace: namespaceOf(network),
  root: bridge,
  leafNames,
  isolated: false,
  mtu: mtuOf(tunnel, options),
});

/** A leaf bridge of this host; nothing where it takes no part. */
export function planLeaf({ network, leaf }: LeafView, options: OverlayOptions): PlanObject[] {
  const { id, tunnel } = network;
  return tunnel === undefined ? [] : planLeafBridge(id, leaf, treeOf(network, tunnel, options));
}

/** The cable between the sandbox and the segment, and what the segment knows of the container. */
export function planEndpoint(view: EndpointView, options: OverlayOptions): PlanObject[] {
  const { network, endpoint } = view;
  if (network.tunnel === undefined) return [];
  const tree = treeOf(network, network.tunnel, options);
  return [
    ...endpointFrames(tree.namespace, endpoint),
    cable(view, tree.namespace, endpointPort(endpoint, tree), tree.mtu),
    ...interfaceObjects(view),
    ...(options.encrypted ? closedRoutes(view) : []),
    ...endpointForwarding(endpoint, tree),
    ...neighbours(network, endpoint).filter(({ address }) => familyOf(address) === "ip"),
  ];
}

/** Without its interface, what a container has for an encrypted network would go its way out, in clear. */
const closedRoutes = (view: EndpointView): PlanObject[] =>
  view.pools
    .filter(({ subnet }) => view.endpoint.addresses.some(({ address }) => familyOf(address) === familyOf(subnet)))
    .map(({ subnet }) => ({ kind: "route", namespace: insideOf(view), to: subnet, link: "lo", unreachable: true }));

/** A container of another host: behind the tunnel, and at which end of it. */
export function planPeer({ network, peer }: PeerView, options: OverlayOptions): PlanObject[] {
  const { tunnel } = network;
  if (tunnel === undefined || tunnel.local === peer.dataPath) return [];
  const { mac } = peer;
  const namespace = namespaceOf(network);
  // Its addresses are its own also while it is not reached.
  const taken = peer.addresses.map(({ address }) => takenAddress(namespace, address));
  const destination = destinationOf(network, { ...peer, address: peer.dataPath }, options);
  if (destination === undefined) return taken;
  return [
    ...taken,
    { kind: "forwarding", namespace, link: vxlan, mac },
    ...neighbours(network, peer),
    { kind: "tunnel", namespace, link: vxlan, mac, destination },
  ];
}

/** Where what is for everybody is copied to: once a host, so that it belongs to none of the containers there. */
export function planTunnelEnd({ network, ...end }: TunnelEndView, options: OverlayOptions): PlanObject[] {
  const destination = options.multicast ? destinationOf(network, end, options) : undefined;
  if (destination === undefined) return [];
  return [{ kind: "tunnel", namespace: namespaceOf(network), link: vxlan, mac: everyMac, destination }];
}

/** Where frames for another host go to in the tunnel; undefined when they go nowhere. */
function destinationOf(
  { tunnel, vni }: Network,
  { address, wireguardAddress }: Pick<TunnelEndView, "address" | "wireguardAddress">,
  options: OverlayOptions,
): IpAddress | undefined {
  if (tunnel === undefined || vni === undefined || tunnel.local === address) return undefined;
  if (wayOf(tunnel, options) === undefined) return undefined;
  return options.encrypted ? wireguardAddress : address;
}

interface Member {
  readonly mac: MacAddress;
  readonly addresses: readonly { readonly address: string }[];
}

/**
 * For whom `br0` answers. A neighbour solicitation it answers only for who is behind `vxlan0` (`suppressesNeighbours`): one for
 * a container of this host that it knew it would not hand to that container either (net/bridge/br_arp_nd_proxy.c,
 * br_do_suppress_nd), so of those it knows the IPv4 address alone.
 */
const neighbours = (network: Network, { mac, addresses }: Member): NeighbourObject[] =>
  addresses.map(({ address }) => ({
    kind: "neighbour",
    namespace: namespaceOf(network),
    link: bridge,
    address,
    mac,
  }));
