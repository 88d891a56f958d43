import type { ContainerId, EndpointId, IpAddress, MacAddress, NetworkId, SandboxId } from "./ids.ts";

/** One published port of an endpoint: packets to `hostIp:hostPort` go to `containerPort`. */
export interface PortBinding {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  /** `0.0.0.0` or `::` stand for every address of the host in that family. */
  readonly hostIp: IpAddress;
  readonly hostPort: number;
}

export interface EndpointAddress {
  readonly address: IpAddress;
  /** Prefix length of the pool's subnet, 0 to 128. */
  readonly prefix: number;
  readonly gateway?: IpAddress;
}

/** One interface of one running container on one network. */
export interface Endpoint {
  readonly id: EndpointId;
  readonly networkId: NetworkId;
  readonly sandboxId: SandboxId;
  readonly containerId: ContainerId;
  readonly containerName: string;
  readonly mac: MacAddress;
  /** Name of the interface inside the sandbox: `eth0`. */
  readonly interfaceName: string;
  /** At most one address a family, IPv4 first. */
  readonly addresses: readonly EndpointAddress[];
  /** Extra addresses without address management (`--link-local-ip`). */
  readonly linkLocal: readonly IpAddress[];
  /** What the embedded DNS answers for: container name, aliases, short id, hostname. */
  readonly names: readonly string[];
  readonly ports: readonly PortBinding[];
  /** Sysctls of the interface, `IFNAME` already replaced: `net.ipv4.conf.eth0.log_martians` → `1`. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** The endpoint with the highest priority owns the default route; ties go to the first network name. */
  readonly gatewayPriority: number;
  /** Set on an endpoint that nobody asked for: the way out of a container whose networks have none. */
  readonly isWayOut?: true;
  /** The leaf bridge of its network that it is on, 1 or more; absent: the root bridge. Linux gives a bridge 1,023 ports. */
  readonly leaf?: number;
}
