import type { EndpointAddress } from "./endpoint.ts";
import type { ContainerId, EndpointId, IpAddress, MacAddress, NetworkId } from "./ids.ts";

/** Another host's end of WireGuard. */
export interface WireguardEnd {
  /** Base64 of 32 bytes. */
  readonly publicKey: string;
  /** Its address in there. */
  readonly address: IpAddress;
}

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
  /** Its node's end of WireGuard; absent when the node has none: on encrypted networks it is not reached. */
  readonly wireguard?: WireguardEnd;
  readonly mac: MacAddress;
  /** At most one address a family, IPv4 first. */
  readonly addresses: readonly EndpointAddress[];
  /** What the embedded DNS answers for. */
  readonly names: readonly string[];
}

/** What an endpoint of this host has of the cluster. */
export type Claim = Pick<Peer, "id" | "networkId" | "mac" | "addresses">;
