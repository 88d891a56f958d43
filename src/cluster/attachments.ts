import { isDeepStrictEqual } from "node:util";
import { claimFirst, releaseAddresses } from "../ipam/claim.ts";
import { EngineError, forbidden, invalid, notFound, notImplemented, unavailable } from "../lib/errors.ts";
import { localMac } from "../lib/mac.ts";
import { parseAddress } from "../lib/net.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { ClusterNode, NodeId } from "../model/cluster.ts";
import type { EndpointAddress } from "../model/endpoint.ts";
import type { ContainerId, EndpointId, IpAddress, MacAddress } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import { encryptionLack, wireguardPlace } from "./encryption.ts";
import { rowsNamed } from "../store/named.ts";
import type { Snapshot, Transaction } from "../store/store.ts";

/** What a node asks of the cluster for a container that is to be on one of its networks. */
export interface AttachWish {
  /** Id, name, or the beginning of an id. */
  readonly network: string;
  readonly endpointId: EndpointId;
  readonly containerId: ContainerId;
  readonly containerName: string;
  readonly names: readonly string[];
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly mac?: MacAddress;
}

/** The rows that a node needs for an endpoint. */
export interface Attached {
  readonly network: Network;
  readonly pools: readonly AddressPool[];
  readonly peer: Peer;
}

const longest = 255; // characters of a name
const mostNames = 100;

/**
 * Claims addresses on a network for a container of a node. Asked again for the same endpoint, it answers what was claimed, and
 * takes the container's names as they are now.
 * @throws {EngineError} not-found; system with Docker's text for a network that is not attachable; not-implemented for an
 *   encrypted one where the node has nothing that encrypts; as `claimAddress`
 */
export function attach(tx: Transaction, nodeId: NodeId, wish: AttachWish): Attached {
  const node = tx.get("nodes", nodeId);
  if (node === undefined) throw forbidden(`node ${nodeId} was removed from the swarm`);
  if (node.status.session === undefined) throw unavailable(`node ${nodeId} has no stream`);
  checkWish(wish);
  const network = attachable(tx, wish.network);
  const pools = tx.where("pools", "network", network.id);
  const known = tx.get("peers", wish.endpointId);
  if (known !== undefined) {
    if (known.nodeId !== nodeId || known.networkId !== network.id)
      throw forbidden(`endpoint ${wish.endpointId} is another one's`);
    const peer = { ...known, containerName: wish.containerName, names: wish.names };
    if (!isDeepStrictEqual(known, peer)) tx.put("peers", peer);
    return { network, pools, peer };
  }
  const lack = network.isEncrypted && encryptionLack(node);
  if (lack) throw notImplemented(`encrypted networks are not possible on node ${node.hostname}: ${lack}`);
  const mac = wish.mac ?? localMac(`${network.id} ${wish.containerId}`);
  const [holder] = tx.where("peers", "mac", `${network.id}|${mac}`);
  if (holder !== undefined)
    throw forbidden(`MAC address ${mac} is container ${holder.containerName}'s on node ${holder.hostname}`);
  const peer: Peer = {
    id: wish.endpointId,
    networkId: network.id,
    containerId: wish.containerId,
    containerName: wish.containerName,
    nodeId,
    ...placeOf(tx, node, network),
    mac,
    addresses: addressesOf(tx, pools, wish),
    names: wish.names,
  };
  tx.insert("peers", peer);
  return { network, pools, peer };
}

/** Gives back what a node has claimed for endpoints. What is gone, or another node's, is left alone. */
export function detach(tx: Transaction, nodeId: NodeId, ids: Iterable<EndpointId>): void {
  for (const id of ids) {
    if (tx.get("peers", id)?.nodeId !== nodeId) continue;
    releaseAddresses(tx, id);
    tx.delete("peers", id);
  }
}

/** Gives back what a node has not got any more. @param ids of all endpoints that it has */
export function keepOnly(tx: Transaction, nodeId: NodeId, ids: ReadonlySet<EndpointId>): void {
  const stale = tx.where("peers", "node", nodeId).filter(({ id }) => !ids.has(id));
  detach(
    tx,
    nodeId,
    stale.map(({ id }) => id),
  );
}

type PlaceOfPeer = Pick<Peer, "hostname" | "dataPath" | "wireguardAddress">;

/** What the others must know of a node to reach its endpoints on a network. */
function placeOf(rows: Snapshot, node: ClusterNode, network: Network | undefined): PlaceOfPeer {
  const wireguardAddress = network?.isEncrypted ? wireguardPlace(rows, node) : undefined;
  const { hostname, addresses } = node;
  return { hostname, dataPath: addresses.dataPath, ...(wireguardAddress !== undefined && { wireguardAddress }) };
}

/** A node's endpoints are where the node is. */
export function movePeers(tx: Transaction, node: ClusterNode): void {
  for (const peer of tx.where("peers", "node", node.id)) {
    const { wireguardAddress: _, ...others } = peer;
    const moved = { ...others, ...placeOf(tx, node, tx.get("networks", peer.networkId)) };
    if (!isDeepStrictEqual(moved, peer)) tx.put("peers", moved);
  }
}

function attachable(rows: Snapshot, reference: string): Network {
  const [network, ...others] = rowsNamed(rows, "networks", reference);
  if (network === undefined) throw notFound(`network ${reference} not found`);
  if (others.length > 0)
    throw invalid(`network ${reference} is ambiguous (${others.length + 1} matches found based on ID prefix)`);
  if (!network.spec.attachable)
    throw new EngineError(
      "system",
      `Could not attach to network ${reference}: rpc error: code = PermissionDenied desc = network ${reference} not manually attachable`,
    );
  return network;
}

function checkWish({ endpointId, containerId, containerName, names, mac }: AttachWish): void {
  if (![endpointId, containerId].every((id) => /^[0-9a-f]{64}$/.test(id))) throw invalid("an id must be 64 hex digits");
  const texts = [containerName, ...names];
  if (texts.length > mostNames || texts.some((text) => text.length > longest || /\p{Cc}/u.test(text)))
    throw invalid("an endpoint's names are malformed");
  const isOfOne = mac === undefined || (/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && !/^00(:00){5}$/.test(mac));
  if (!isOfOne) throw invalid(`invalid MAC address ${mac}`);
}

/** One address of each family that the network has. */
function addressesOf(tx: Transaction, pools: readonly AddressPool[], wish: AttachWish): EndpointAddress[] {
  return ([4, 6] as const).flatMap((family) => {
    const own = pools.filter(({ subnet }) => subnet.includes(":") === (family === 6));
    const wished = family === 4 ? wish.ipv4 : wish.ipv6;
    if (wished !== undefined && parseAddress(wished) === undefined) throw invalid(`invalid address ${wished}`);
    if (own.length > 0) {
      const { address, prefix } = claimFirst(tx, own, wished, wish.endpointId);
      return [{ address, prefix }];
    }
    if (wished === undefined) return [];
    throw invalid(`invalid endpoint settings:\nno configured subnet or ip-range contain the IP address ${wished}`);
  });
}
