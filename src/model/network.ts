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

/** The request plus what was decided for it. */
export interface Network {
  readonly id: NetworkId;
  readonly scope: Scope;
  readonly spec: NetworkSpec;
  /** At most one pool a family for a bridge; several for macvlan. IPv4 first. */
  readonly pools: readonly PoolId[];
  /** True for bridge, host, none: they cannot be removed. */
  readonly predefined: boolean;
  /** RFC 3339 with nanoseconds. */
  readonly createdAt: string;
}
