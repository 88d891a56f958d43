import type { EndpointAddress } from "./endpoint.ts";
import type { ContainerId, EndpointId, IpAddress, MacAddress, NetworkId } from "./ids.ts";

/** An endpoint of an overlay network as the cluster has it: what the other hosts must know to reach it. */
export interface Peer {
  readonly id: EndpointId;
  readonly networkId: NetworkId;
  readonly containerId: ContainerId;
  readonly containerName: string;
  /** The node that it is on, its hostname, and the address where that node's tunnels end. */
  readonly nodeId: string;
  readonly hostname: string;
  readonly dataPath: IpAddress;
  /** On encrypted networks, its node's address in WireGuard; absent when the node has none: then it is not reached. */
  readonly wireguardAddress?: IpAddress;
  readonly mac: MacAddress;
  /** At most one address a family, IPv4 first. */
  readonly addresses: readonly EndpointAddress[];
  /** What the embedded DNS answers for. */
  readonly names: readonly string[];
}

/** What an endpoint of this host has of the cluster. */
export type Claim = Pick<Peer, "id" | "networkId" | "mac" | "addresses">;
