import type { AddressPool } from "../model/address-pool.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { Peer } from "../model/peer.ts";
import type { Network, NetworkSpec, Scope } from "../model/network.ts";
import type { PlanObject } from "../model/plan.ts";
import type { IpAddress } from "../model/ids.ts";
import type { Sandbox } from "../model/sandbox.ts";
import type { Announcements, Segment } from "../model/lan.ts";
import type { ParentUse } from "./parent.ts";

/** What a driver sees of one network: rows only. */
export interface NetworkView {
  readonly network: Network;
  readonly pools: readonly AddressPool[];
}
export interface EndpointView extends NetworkView {
  readonly endpoint: Endpoint;
  readonly sandbox: Sandbox;
}

/** One leaf bridge, which is there while an endpoint is on it. */
export interface LeafView extends NetworkView {
  /** 1 or more. */
  readonly leaf: number;
}

/** An endpoint of another host. */
export interface PeerView extends NetworkView {
  readonly peer: Peer;
}

/** Another host, by the address where its tunnels end, that has endpoints of the network. */
export interface TunnelEndView extends NetworkView {
  readonly address: IpAddress;
  /** Where it is in WireGuard, if it is there. */
  readonly wireguardAddress?: IpAddress;
}

/** What the others have to know of a driver whose containers are on a LAN that is not ours. */
export interface OnLan<Options> {
  /** Undefined for a network with a segment of its own. */
  parentOf(options: Options): ParentUse | undefined;
  /** MTU of the containers' interfaces, in bytes; undefined: the parent's. */
  mtu(options: Options): number | undefined;
  /** True when an address is asked for on the LAN before a container gets it. */
  addressProbe(options: Options): boolean;
  /** How often the LAN is told of a container's addresses when it starts. */
  announcements(options: Options): Announcements;
  /** Addresses that the host takes for itself. */
  reserved(options: Options): readonly IpAddress[];
  /** How many containers the network may have at a time; undefined: as many as it has addresses. */
  mostEndpoints(options: Options): number | undefined;
  /** True when each container has a MAC of its own, not the parent's: then the LAN's DHCP server can tell them apart, too. */
  ownMacs(options: Options): boolean;
}

/** What the others have to know of a driver whose networks reach over many hosts. */
export interface OverHosts<Options> {
  /** The VXLAN network identifier that the user asked for; undefined: a free one. */
  vni(options: Options): number | undefined;
  /** True when what goes from host to host is encrypted. */
  isEncrypted(options: Options): boolean;
}

/** Functions without I/O, clock or randomness: the same view gives the same plan. */
export interface NetworkDriver<Options = unknown> {
  readonly name: string;
  readonly scope: Scope;
  /** False for host and none: their networks have no subnet. */
  readonly hasPools: boolean;
  /** True when several subnets of one family are allowed. */
  readonly severalSubnets: boolean;
  /** Absent: the network is the host's own, and the way out leads through the host. */
  readonly lan?: OnLan<Options>;
  /** The bridge on which the containers of a network ask each other for addresses, if it is one of ours. */
  segmentOf?(network: Network, options: Options): Segment;
  /** What is set in each sandbox with an endpoint of such a network, unless its user says otherwise. */
  readonly sandboxSysctls?: Readonly<Record<string, string>>;
  /** Absent: the driver's networks end with the host. */
  readonly overHosts?: OverHosts<Options>;
  /** Reads and checks `-o key=value`. @throws {EngineError} with Docker's text; an unknown key names the nearest known one. */
  readOptions(spec: NetworkSpec): Options;
  /** What the network itself needs, without any endpoint. */
  planNetwork(view: NetworkView, options: Options): readonly PlanObject[];
  /** What one endpoint adds; so the cost of a connect does not grow with the network. */
  planEndpoint(view: EndpointView, options: Options): readonly PlanObject[];
  /** A leaf bridge and what joins it to the root. Absent: endpoints are on no bridge, whatever their rows say of leaves. */
  planLeaf?(view: LeafView, options: Options): readonly PlanObject[];
  /** What an endpoint of another host adds here. */
  planPeer?(view: PeerView, options: Options): readonly PlanObject[];
  /** What another host adds here by having endpoints of the network, however many. */
  planTunnelEnd?(view: TunnelEndView, options: Options): readonly PlanObject[];
}
