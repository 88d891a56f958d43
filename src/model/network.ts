import type { Cidr, IpAddress, NetworkId, PoolId } from "./ids.ts";

export type Scope = "local" | "cluster";

/** One entry of `IPAM.Config`, as the user typed it (checked, canonical). */
export interface SubnetSpec {
  readonly subnet?: Cidr;
  readonly range?: Cidr;
  readonly gateway?: IpAddress;
  /** Reserved addresses by name (`--aux-address`). */
  readonly auxiliary: Readonly<Record<string, IpAddress>>;
}

/** What the user asked for. Written once by `networks.create`; nothing edits it afterwards. */
export interface NetworkSpec {
  readonly name: string;
  /** A key of the registry in `drivers/index.ts`. */
  readonly driver: string;
  /** `-o key=value`. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly ipam: {
    readonly driver: string;
    readonly options: Readonly<Record<string, string>>;
    readonly subnets: readonly SubnetSpec[];
  };
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ingress: boolean;
  readonly configOnly: boolean;
  /** Name of the configuration network that this one was made from. */
  readonly configFrom?: string;
}

/** A route or an address of the host that is not ours, for overlap checks. */
export interface HostPort {
  readonly protocol: "tcp" | "udp";
  /** The host's; `0.0.0.0` and `::` stand for all. */
  readonly address: IpAddress;
  readonly port: number;
}
export interface HostRoute {
  readonly to: Cidr;
  readonly link: string;
}

/** What `docker network create` says when nothing is said. */
export const plainSpec = {
  options: {},
  labels: {},
  ipv4: true,
  ipv6: false,
  ipam: { driver: "default", options: {}, subnets: [] },
  internal: false,
  attachable: false,
  ingress: false,
  configOnly: false,
} as const satisfies Omit<NetworkSpec, "name" | "driver">;

/**
 * Bytes that the tunnel adds to a container's packet, by the family between the hosts: Ethernet 14, VXLAN 8 (RFC 7348
 * section 5), UDP 8, and IPv4's 20 or IPv6's 40.
 */
export const tunnelOverhead = { ip: 50, ip6: 70 } as const;
/** Bytes that a link must carry for IPv6 (RFC 8200 section 5). */
export const leastIpv6 = 1280;

/** One host's end of an overlay network's tunnel. */
export interface Tunnel {
  /** UDP port of VXLAN. */
  readonly udpPort: number;
  /** The host's data path address. */
  readonly local: IpAddress;
  /** Bytes of a container's packet: the MTU of the link that has `local` less 50, or less 70 over IPv6. */
  readonly mtu: number;
  /** Present in the rows of encrypted networks. */
  readonly encryption?: Encryption;
}

/** How a host takes part in the WireGuard that encrypted networks go through, one for all of them; its keys are in `OwnEnd`. */
export interface Encryption {
  /** The host's own address in there, an IPv6 one. */
  readonly address: IpAddress;
  /** Bytes of what WireGuard takes: 60 less than the MTU of the link that has `local`, or 80 less over IPv6. */
  readonly mtu: number;
}

/** The request plus what was decided for it. */
export interface Network {
  readonly id: NetworkId;
  readonly scope: Scope;
  readonly spec: NetworkSpec;
  /** At most one pool a family for a bridge; several for macvlan. IPv4 first. */
  readonly pools: readonly PoolId[];
  /** True for bridge, host, none: they cannot be removed. */
  readonly predefined: boolean;
  /** VXLAN network identifier of an overlay network, 4096 to 2^24 - 1. */
  readonly vni?: number;
  /** True when what goes from host to host is encrypted. */
  readonly isEncrypted?: true;
  /** How this host takes part in an overlay network; absent in the cluster's own row. */
  readonly tunnel?: Tunnel;
  /** RFC 3339 with nanoseconds. */
  readonly createdAt: string;
}
