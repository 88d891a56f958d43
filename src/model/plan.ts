import { isDeepStrictEqual } from "node:util";
import type { Cidr, IpAddress, MacAddress } from "./ids.ts";
import { ingressSandbox } from "./sandbox.ts";

/**
 * Who wants an object in the kernel. It is written into the object's mark (link alias, table comment …),
 * so that a restarted daemon knows what is ours.
 */
export type Owner =
  | "host"
  /** A link of somebody else's that networks of ours stand on. */
  | `parent:${string}`
  | `network:${string}`
  | `endpoint:${string}`
  /** A leaf bridge of a network: `leaf:<network>|<number>`. */
  | `leaf:${string}`
  /** An endpoint of another host. */
  | `peer:${string}`
  /** Another host, by the address where its tunnels end. */
  | `tunnel:${string}`
  | `sandbox:${string}`
  /** A service as one sandbox sees it: `service:<sandbox>|<network>|<service>`. */
  | `service:${string}`;

/** Network namespaces by role: the daemon's own, a sandbox's, or an overlay network's. */
export type NamespaceName = "host" | `sandbox:${string}` | `network:${string}`;

/**
 * Where the tunnels of encrypted networks have their sockets, instead of the host's namespace: the only link there is the
 * host's end of WireGuard. What comes out of such a tunnel has no other way to take, and what is meant for it no other
 * way in, whatever becomes of addresses, routes and rules.
 */
export const encryptedUnderlay: "network:encrypted" = "network:encrypted";

/** Where published ports of services come in. */
export const ingressNamespace = `sandbox:${ingressSandbox}` as const;
/** True where what others change is put right. A container's sandbox is its own business. */
export const isWatched = (namespace: NamespaceName): boolean =>
  namespace === "host" || namespace.startsWith("network:") || namespace === ingressNamespace;

/** Pins a network namespace and brings its loopback up. */
export interface NamespaceObject {
  readonly kind: "namespace";
  readonly namespace: NamespaceName;
}

interface LinkBase {
  readonly kind: "link";
  readonly namespace: NamespaceName;
  readonly name: string;
  /** Bytes; absent means the kernel's default. */
  readonly mtu?: number;
  readonly mac?: MacAddress;
  /** True when a link of this name that we did not make is used as it is and never deleted. */
  readonly adopt?: boolean;
}
export interface BridgeLink extends LinkBase {
  readonly type: "bridge";
}
export interface VethLink extends LinkBase {
  readonly type: "veth";
  readonly peer: {
    readonly namespace: NamespaceName;
    readonly name: string;
    readonly mac: MacAddress;
    /** Only of a far end in the same namespace: of another one's it is nobody's business here. */
    readonly port?: BridgePort;
  };
  readonly port?: BridgePort;
}
/** A link as a port of a bridge (include/uapi/linux/if_link.h, IFLA_BRPORT_*). */
export interface BridgePort {
  readonly bridge: string;
  /** Isolated ports cannot reach one another (`enable_icc=false`). */
  readonly isolated: boolean;
  readonly hairpin: boolean;
  readonly learning: boolean;
  /**
   * The bridge answers ARP for who is behind this port, from its own neighbour table, and copies it nowhere
   * (IFLA_BRPORT_PROXYARP_WIFI; IFLA_BRPORT_PROXYARP would keep every broadcast from the port, IPv6 solicitations too).
   */
  readonly proxyArp: boolean;
  /**
   * The bridge answers ARP and neighbour solicitations of other ports for who is behind this one, from its own neighbour
   * table, and what it answered is not copied here (IFLA_BRPORT_NEIGH_SUPPRESS). Absent: it does not.
   */
  readonly suppressesNeighbours?: true;
  /** Only frames from MACs that a `forwarding` entry has here are taken in (IFLA_BRPORT_LOCKED, since Linux 5.18). */
  readonly locked?: true;
  /**
   * Neither broadcast nor a frame for a MAC that the bridge does not know is copied here (IFLA_BRPORT_BCAST_FLOOD and
   * IFLA_BRPORT_UNICAST_FLOOD off); multicast is. Absent: all are.
   */
  readonly isSpared?: true;
  /**
   * Frames for the addresses that are no bridge's to pass on (01-80-C2-00-00-00 to -0F, IEEE 802.1Q table 8-1) are the port's
   * own, and come to the host past the bridge and its rules. Absent: they go the way of all others
   * (IFLA_BRPORT_GROUP_FWD_MASK). Found where somebody made it so: no plan wants it.
   */
  readonly takesReserved?: true;
}
/** An 802.1Q interface: the frames of one VLAN of `parent`, without their tags. */
export interface VlanLink extends LinkBase {
  readonly type: "vlan";
  /** A link of the same namespace. */
  readonly parent: string;
  /** 1 to 4094. */
  readonly vlan: number;
}
/** An interface with a MAC of its own on `parent`, a link of the host's namespace (drivers/net/macvlan.c). */
export interface MacvlanLink extends LinkBase {
  readonly type: "macvlan";
  readonly parent: string;
  readonly mode: MacvlanMode;
}
export type MacvlanMode = "bridge" | "private" | "vepa" | "passthru";
/** An interface that shares the MAC of `parent`, a link of the host's namespace (drivers/net/ipvlan). */
export interface IpvlanLink extends LinkBase {
  readonly type: "ipvlan";
  readonly parent: string;
  readonly mode: IpvlanMode;
  readonly flag: IpvlanFlag;
}
export type IpvlanMode = "l2" | "l3" | "l3s";
export type IpvlanFlag = "bridge" | "private" | "vepa";
/**
 * One end of a network's tunnel: frames that a bridge hands to it go to other hosts in UDP (RFC 7348). Made in `underlay`,
 * where its socket stays, then moved to `namespace`. It learns nothing: where a MAC is, a `tunnel` entry says.
 */
export interface VxlanLink extends LinkBase {
  readonly type: "vxlan";
  /** VXLAN network identifier, 1 to 2^24 - 1. */
  readonly vni: number;
  /** UDP port of the other ends, and of this one. */
  readonly udpPort: number;
  /** The address of the host that the tunnel begins at. */
  readonly local: IpAddress;
  /** Absent: the host's. */
  readonly underlay?: NamespaceName;
  readonly port?: BridgePort;
}
/**
 * A host's end of WireGuard: the kernel's, or wireguard-go's where the kernel has none. Made in the host's namespace, where
 * the socket of what is encrypted stays, then moved to `namespace`. The private key is in no plan: the kernel layer keeps
 * it in memory (`Kernel.newWireguardKey`).
 */
export interface WireguardLink extends LinkBase {
  readonly type: "wireguard";
  /** Base64 of 32 bytes: which pair of keys it has. */
  readonly publicKey: string;
  /** UDP port of the host that the others send to. */
  readonly udpPort: number;
}
export type LinkObject = BridgeLink | VethLink | VlanLink | MacvlanLink | IpvlanLink | VxlanLink | WireguardLink;
/** Links that stand on one of the host's, wherever they are themselves. */
export type ChildLink = MacvlanLink | IpvlanLink;

/**
 * What a link that is not ours must be like while networks stand on it. Made, it is brought up too; gone, it is put back
 * as it was, except that it stays up.
 */
export interface ParentObject {
  readonly kind: "parent";
  readonly namespace: "host";
  readonly link: string;
  /** True: it takes in frames for every MAC. */
  readonly promiscuous: boolean;
}

export interface AddressObject {
  readonly kind: "address";
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly address: Cidr;
}
export interface RouteObject {
  readonly kind: "route";
  readonly namespace: NamespaceName;
  /** `0.0.0.0/0` and `::/0` are the default routes. */
  readonly to: Cidr;
  readonly link: string;
  readonly via?: IpAddress;
  /**
   * The host speaks with an address of this link, of the subnet of `to` if there is one: `link` has none of its own.
   * Found in the kernel only while the route has the source that this leads to.
   */
  readonly sourceOf?: string;
  /** Number of a routing table, 1 to 252, which only a `rule` leads to; absent: the main one. */
  readonly table?: number;
  /** While no other route leads there, nothing goes there: whoever tries hears so at once. Its `link` is `lo` then, and `to` no default route. */
  readonly unreachable?: true;
}
/** Packets from an address look for their way in `table` before the main one (ip-rule(8)). */
export interface RuleObject {
  readonly kind: "rule";
  readonly namespace: NamespaceName;
  /** Order among rules, 1 to 32765: one of ours for each number and family. */
  readonly priority: number;
  readonly from: IpAddress;
  /** Only packets whose mark has this value in the bits of `mask`; absent: all. */
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly table: number;
}
/** A permanent neighbour: `address` is at `mac` on `link`. */
export interface NeighbourObject {
  readonly kind: "neighbour";
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly address: IpAddress;
  readonly mac: MacAddress;
}
/** A static entry of a bridge's forwarding table: `mac` is behind the port `link`. */
export interface ForwardingObject {
  readonly kind: "forwarding";
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly mac: MacAddress;
}
/** In a VXLAN link's table: every MAC that has no entry of its own, and broadcast (drivers/net/vxlan, all_zeros_mac). */
export const everyMac: MacAddress = "00:00:00:00:00:00";
/** An entry of a VXLAN link's own table: frames for `mac` go to the host at `destination`; for `everyMac` to several. */
export interface TunnelObject {
  readonly kind: "tunnel";
  readonly namespace: NamespaceName;
  /** The VXLAN link. */
  readonly link: string;
  readonly mac: MacAddress;
  readonly destination: IpAddress;
}
/** Another host on a WireGuard link: what goes to `address` is encrypted for it, and from it comes nothing else. */
export interface WireguardPeerObject {
  readonly kind: "wireguard";
  readonly namespace: NamespaceName;
  /** The WireGuard link. */
  readonly link: string;
  /** Base64 of 32 bytes. */
  readonly publicKey: string;
  /** Where it is sent to at first; one that moves is followed (WireGuard's roaming). */
  readonly endpoint: { readonly address: IpAddress; readonly udpPort: number };
  readonly address: IpAddress;
}
/**
 * A virtual service of IPVS: packets with this mark that are a new connection's go to one of its destinations
 * (include/uapi/linux/ip_vs.h). It is there without destinations, too, and refuses.
 */
export interface IpvsObject {
  readonly kind: "ipvs";
  readonly namespace: NamespaceName;
  readonly family: Family;
  /** 1 to 2^32 - 1: one service for each mark and family of a namespace. */
  readonly mark: number;
  readonly scheduler: IpvsScheduler;
}
/** By turns, to the one with the fewest connections, by the client's address (net/netfilter/ipvs/ip_vs_rr.c, _lc.c, _sh.c). */
export type IpvsScheduler = "rr" | "lc" | "sh";
/**
 * Where connections of an IPVS service go, on the port that they were begun to. Removed, it gets no new ones; those that it has go
 * on until they are forgotten (`Kernel.forgetConnections`).
 */
export interface DestinationObject {
  readonly kind: "destination";
  readonly namespace: NamespaceName;
  readonly family: Family;
  /** Of its service. */
  readonly mark: number;
  readonly address: IpAddress;
}
/** `key` is dotted as sysctl(8) writes it, with `/` inside an interface name for a dot: `net.ipv4.conf.eth0.log_martians`. */
export interface SysctlObject {
  readonly kind: "sysctl";
  readonly namespace: NamespaceName;
  readonly key: string;
  readonly value: string;
}

export type Family = "ip" | "ip6";
export const familyOf = (address: IpAddress): Family => (address.includes(":") ? "ip6" : "ip");
/**
 * The families of nftables in which we have a table: `bridge` sees the frames of a bridge's ports, `netdev` those of the
 * interfaces that its chains name.
 */
export type RuleFamily = Family | "bridge" | "netdev";
/**
 * What the tables of a namespace begin with: hooks, and the sets and maps that they read, as nft text. A family that is absent
 * has no base there.
 */
export type BaseText = (namespace: NamespaceName) => Readonly<Partial<Record<RuleFamily, string>>>;

/** A chain of the table `tombolo`. `rules` are nft text that we rendered ourselves, in order. */
export interface ChainObject {
  readonly kind: "chain";
  readonly namespace: NamespaceName;
  readonly family: RuleFamily;
  readonly name: string;
  /** Of the family `netdev`: which frames of the interface `link` meet it. Absent: others jump there. */
  readonly hook?: "ingress" | "egress";
  readonly link?: string;
  readonly rules: readonly string[];
}
/** How long connection tracking remembers a TCP connection in which nothing is said: a chain of the same table sets it. */
export interface TimeoutObject {
  readonly kind: "timeout";
  readonly namespace: NamespaceName;
  readonly family: Family;
  readonly name: string;
  /** 1 or more. Linux does not change it: another time is another object. */
  readonly seconds: number;
}
/** One element of a set or map of the table `tombolo`. `key` and `value` are nft text: `tcp . 8080`, `172.17.0.2 . 80`, `jump to_0123`. */
export interface ElementObject {
  readonly kind: "element";
  readonly namespace: NamespaceName;
  readonly family: RuleFamily;
  readonly set: string;
  readonly key: string;
  readonly value?: string;
}

export type PlanObject =
  | NamespaceObject
  | LinkObject
  | ParentObject
  | AddressObject
  | RouteObject
  | RuleObject
  | NeighbourObject
  | ForwardingObject
  | TunnelObject
  | WireguardPeerObject
  | SysctlObject
  | IpvsObject
  | DestinationObject
  | TimeoutObject
  | ChainObject
  | ElementObject;
export type PlanKind = PlanObject["kind"];

/** Everything one owner wants in this host's kernel. What is absent gets deleted. */
export interface Plan {
  readonly owner: Owner;
  readonly objects: readonly PlanObject[];
}

/**
 * Whether a link can become another one while it is there: MAC, MTU and bridge change in place; with another type, far end,
 * parent, mode, flag, VLAN or end of a tunnel it is made anew, and what stands on it goes.
 */
export function isSameLink(before: LinkObject, after: LinkObject): boolean {
  if (before.type === "veth" && after.type === "veth")
    return before.peer.namespace === after.peer.namespace && before.peer.name === after.peer.name;
  if (before.type === "vxlan" && after.type === "vxlan")
    return (["vni", "udpPort", "local", "underlay"] as const).every((key) => before[key] === after[key]);
  if (!("parent" in before) || !("parent" in after)) return before.type === after.type;
  const fixed = ({ mac: _mac, mtu: _mtu, adopt: _adopt, ...rest }: LinkObject) => rest;
  return isDeepStrictEqual(fixed(before), fixed(after));
}

/** Identity of an object: two objects with one key are the same thing in two states. */
export function keyOf(o: PlanObject): string {
  switch (o.kind) {
    case "namespace":
      return `namespace|${o.namespace}`;
    case "link":
      return `link|${o.namespace}|${o.name}`;
    case "parent":
      return `parent|${o.namespace}|${o.link}`;
    case "address":
      return `address|${o.namespace}|${o.link}|${o.address}`;
    case "route":
      return `route|${o.namespace}|${o.to}${o.table === undefined ? "" : `|${o.table}`}${o.unreachable ? "|unreachable" : ""}`;
    case "rule":
      return `rule|${o.namespace}|${o.from.includes(":") ? "ip6" : "ip"}|${o.priority}`;
    case "neighbour":
      return `neighbour|${o.namespace}|${o.link}|${o.address}`;
    case "forwarding":
      return `forwarding|${o.namespace}|${o.link}|${o.mac}`;
    case "tunnel":
      return `tunnel|${o.namespace}|${o.link}|${o.mac}|${o.destination}`;
    case "wireguard":
      return `wireguard|${o.namespace}|${o.link}|${o.publicKey}`;
    case "sysctl":
      return `sysctl|${o.namespace}|${o.key}`;
    case "ipvs":
      return `ipvs|${o.namespace}|${o.family}|${o.mark}`;
    case "destination":
      return `destination|${o.namespace}|${o.family}|${o.mark}|${o.address}`;
    case "timeout":
      return `timeout|${o.namespace}|${o.family}|${o.name}`;
    case "chain":
      return `chain|${o.namespace}|${o.family}|${o.name}`;
    case "element":
      return `element|${o.namespace}|${o.family}|${o.set}|${o.key}`;
  }
}
