import type { AddressClaim, AddressPool } from "../model/address-pool.ts";
import type { Cluster, ClusterNode } from "../model/cluster.ts";
import type { Container, Volume } from "../model/container.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { Lease } from "../model/lease.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import type { Sandbox } from "../model/sandbox.ts";
import type { Acknowledgement, Backend, FileContent, Service, Task, VirtualService } from "../model/service.ts";
import type { OwnEnd, WireguardEnd } from "../model/wireguard.ts";

/** A host port taken by an endpoint. Its key is the claim. */
export interface PortClaim {
  readonly protocol: string;
  readonly hostIp: string;
  readonly hostPort: number;
  readonly endpointId: string;
}
/**
 * A name taken by a container, a network, a service, a secret or a config; a VXLAN network identifier; a port that a service
 * publishes on every node (`tcp|8080`): names are claims too.
 */
export interface NameClaim {
  readonly kind: "container" | "network" | "vni" | "service" | "secret" | "config" | "published";
  readonly name: string;
  readonly id: string;
}

export interface Tables {
  networks: Network;
  pools: AddressPool;
  claims: AddressClaim;
  endpoints: Endpoint;
  peers: Peer;
  /** Of the hosts that have peers here, and this host's own. */
  ends: WireguardEnd;
  ownEnds: OwnEnd;
  sandboxes: Sandbox;
  containers: Container;
  volumes: Volume;
  ports: PortClaim;
  names: NameClaim;
  leases: Lease;
  clusters: Cluster;
  nodes: ClusterNode;
  services: Service;
  tasks: Task;
  virtualServices: VirtualService;
  backends: Backend;
  secrets: FileContent;
  configs: FileContent;
  acknowledgements: Acknowledgement;
}
export type TableName = keyof Tables;

/** The key of each row, derived from the row itself. */
export const keys: { readonly [T in TableName]: (row: Tables[T]) => string } = {
  networks: (r) => r.id,
  pools: (r) => r.id,
  claims: (r) => `${r.pool}|${r.address}`,
  endpoints: (r) => r.id,
  peers: (r) => r.id,
  ends: (r) => r.id,
  ownEnds: (r) => r.id,
  sandboxes: (r) => r.id,
  containers: (r) => r.id,
  volumes: (r) => r.name,
  ports: (r) => `${r.protocol}|${r.hostIp}|${r.hostPort}`,
  names: (r) => `${r.kind}|${r.name}`,
  leases: (r) => r.endpointId,
  clusters: (r) => r.id,
  nodes: (r) => r.id,
  services: (r) => r.id,
  tasks: (r) => r.id,
  virtualServices: (r) => `${r.serviceId}|${r.networkId}`,
  backends: (r) => `${r.taskId}|${r.networkId}`,
  secrets: (r) => r.id,
  configs: (r) => r.id,
  acknowledgements: (r) => r.managerId,
};

/** `<network>|<leaf>`, 0 for its root bridge: who is on the same bridge. */
export const leafOf = ({ networkId, leaf = 0 }: Pick<Endpoint, "networkId" | "leaf">) => `${networkId}|${leaf}`;

/** An address on a network, by which an endpoint is known there: the first one of it. */
export const placeOn = (network: string, addresses: readonly string[]) => `${network}|${addresses[0] ?? ""}`;
export const placeOf = ({ networkId, addresses }: Pick<Peer, "networkId" | "addresses">) =>
  placeOn(
    networkId,
    addresses.map(({ address }) => address),
  );

/** Fields by which rows are looked up, besides their key. */
export const indexes: { readonly [T in TableName]?: Readonly<Record<string, (row: Tables[T]) => string>> } = {
  networks: { isIngress: (r) => String(r.spec.ingress) },
  pools: { network: (r) => r.networkId },
  claims: { owner: (r) => r.owner, pool: (r) => r.pool },
  endpoints: {
    network: (r) => r.networkId,
    sandbox: (r) => r.sandboxId,
    container: (r) => r.containerId,
    leaf: leafOf,
    place: placeOf,
  },
  peers: {
    network: (r) => r.networkId,
    node: (r) => r.nodeId,
    member: (r) => `${r.nodeId}|${r.networkId}`,
    dataPath: (r) => r.dataPath,
    mac: (r) => `${r.networkId}|${r.mac}`,
    place: placeOf,
  },
  sandboxes: { container: (r) => r.containerId },
  containers: { task: (r) => r.taskId ?? "" },
  ports: { endpoint: (r) => r.endpointId, number: (r) => `${r.protocol}|${r.hostPort}` },
  names: { id: (r) => r.id },
  // Who is demoted has its vote, and its place among the managers, until that was taken.
  nodes: {
    role: (r) => r.role,
    hasVote: (r) => String(r.manager !== undefined),
    dataPath: (r) => r.addresses.dataPath,
  },
  tasks: { service: (r) => r.serviceId, node: (r) => r.nodeId ?? "", slot: (r) => `${r.serviceId}|${r.slot}` },
  virtualServices: { service: (r) => r.serviceId, network: (r) => r.networkId },
  backends: {
    service: (r) => r.serviceId,
    network: (r) => r.networkId,
    task: (r) => r.taskId,
    virtual: (r) => `${r.serviceId}|${r.networkId}`,
    place: (r) => placeOn(r.networkId, r.addresses),
  },
};
