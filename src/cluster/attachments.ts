import { isDeepStrictEqual } from "node:util";
import { claimFirst, releaseAddresses } from "../ipam/claim.ts";
import { EngineError, forbidden, invalid, notFound, notImplemented, unavailable } from "../lib/errors.ts";
import { ingressMac, ingressMacPrefix, localMac } from "../lib/mac.ts";
import { parseAddress } from "../lib/net.ts";
import type { AddressClaim, AddressPool } from "../model/address-pool.ts";
import type { ClusterNode, NodeId } from "../model/cluster.ts";
import type { EndpointAddress } from "../model/endpoint.ts";
import type { ContainerId, EndpointId, IpAddress, MacAddress } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import { hasEnded, type TaskId, taskName } from "../model/service.ts";
import type { Peer } from "../model/peer.ts";
import { encryptionLack, wireguardPlace } from "./encryption.ts";
import { removedNode } from "./removal.ts";
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
  /** Of a service's task on that node: its networks need not be attachable. */
  readonly taskId?: TaskId;
  /** True for the node's own end of the network by which published ports come in. */
  readonly isIngressSandbox?: true;
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
 * takes the container's names as they are now; for another endpoint of the same container, that one is in its place.
 * @throws {EngineError} not-found; system with Docker's text for a network that is not attachable; forbidden for a task that
 * is not the node's, or not to be there, and for a second ingress sandbox; not-implemented for an encrypted network where the
 * node has nothing that encrypts; as `claimAddress`
 */
export function attach(tx: Transaction, nodeId: NodeId, wish: AttachWish): Attached {
  const node = tx.get("nodes", nodeId);
  if (node === undefined) throw removedNode(nodeId);
  if (node.status.session === undefined) throw unavailable(`node ${nodeId} has no stream`);
  checkWish(wish);
  const network = networkNamed(tx, wish.network);
  const pools = tx.where("pools", "network", network.id);
  const known = tx.get("peers", wish.endpointId);
  if (known !== undefined) {
    if (known.nodeId !== nodeId || known.networkId !== network.id)
      throw forbidden(`endpoint ${wish.endpointId} is another one's`);
    const peer = { ...known, containerName: wish.containerName, names: wish.names };
    if (!isDeepStrictEqual(known, peer)) tx.put("peers", peer);
    return { network, pools, peer };
  }
  checkMayBeOn(tx, network, nodeId, wish);
  const lack = network.isEncrypted && encryptionLack(node);
  if (lack) throw notImplemented(`encrypted networks are not possible on node ${node.hostname}: ${lack}`);
  // A container is on a network once: what it had there its node has not given back yet.
  const former = tx.where("peers", "member", `${nodeId}|${network.id}`);
  detach(
    tx,
    nodeId,
    former.flatMap(({ id, containerId }) => (containerId === wish.containerId ? id : [])),
  );
  const mac = macFor(tx, network, nodeId, wish);
  const peer: Peer = {
    id: wish.endpointId,
    networkId: network.id,
    containerId: wish.containerId,
    containerName: wish.containerName,
    nodeId,
    ...placeOf(tx, node, network),
    mac,
    addresses: claimAddresses(tx, pools, { ...wish, owner: wish.endpointId }),
    names: wish.names,
  };
  tx.insert("peers", peer);
  return { network, pools, peer };
}

function macFor(tx: Transaction, network: Network, nodeId: NodeId, wish: AttachWish): MacAddress {
  const holderOf = (mac: MacAddress) => tx.where("peers", "mac", `${network.id}|${mac}`)[0];
  if (wish.isIngressSandbox) {
    let mac = ingressMac(nodeId);
    while (holderOf(mac) !== undefined) mac = ingressMac(mac); // three bytes: two nodes may have the same
    return mac;
  }
  const mac = wish.mac ?? localMac(`${network.id} ${wish.containerId}`);
  const holder = holderOf(mac);
  if (holder !== undefined)
    throw forbidden(`MAC address ${mac} is container ${holder.containerName}'s on node ${holder.hostname}`);
  return mac;
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

function checkMayBeOn(rows: Snapshot, network: Network, nodeId: NodeId, wish: AttachWish): void {
  if (wish.isIngressSandbox) checkIngressSandbox(rows, network, nodeId, wish);
  else if (wish.taskId !== undefined) checkTask(rows, network, nodeId, wish.taskId);
  else if (!network.spec.attachable)
    throw new EngineError(
      "system",
      `Could not attach to network ${network.spec.name}: rpc error: code = PermissionDenied desc = network ${network.spec.name} not manually attachable`,
    );
}

/** What is said to who starts what is left of a task. */
export const taskEnded = (id: TaskId) => forbidden(`task ${id} has ended: it does not run again`);

/** A task is on the networks of its service, and on ingress when a port of it is published there. */
function checkTask(rows: Snapshot, network: Network, nodeId: NodeId, id: TaskId): void {
  const task = rows.get("tasks", id);
  if (task?.nodeId !== nodeId) throw forbidden(`task ${id} is not this node's`);
  if (hasEnded(task.status.state)) throw taskEnded(id);
  const isThere = network.spec.ingress
    ? task.isOnIngress
    : task.template.networks.some((one) => one.network === network.id);
  if (isThere) return;
  throw forbidden(
    `${taskName(task)} is a task of service ${task.serviceName}, which is not on network ${network.spec.name}: docker service update --network-add changes that`,
  );
}

function checkIngressSandbox(rows: Snapshot, network: Network, nodeId: NodeId, { endpointId }: AttachWish): void {
  if (!network.spec.ingress) throw forbidden(`network ${network.spec.name} is not that of published ports`);
  const other = rows
    .where("peers", "member", `${nodeId}|${network.id}`)
    .find(({ id, mac }) => id !== endpointId && mac.startsWith(ingressMacPrefix));
  if (other !== undefined) throw forbidden(`node ${nodeId} has its end of network ${network.spec.name} already`);
}

function networkNamed(rows: Snapshot, reference: string): Network {
  const [network, ...others] = rowsNamed(rows, "networks", reference);
  if (network === undefined) throw notFound(`network ${reference} not found`);
  if (others.length > 0)
    throw invalid(`network ${reference} is ambiguous (${others.length + 1} matches found based on ID prefix)`);
  return network;
}

function checkWish({ endpointId, containerId, containerName, names, mac }: AttachWish): void {
  if (![endpointId, containerId].every((id) => /^[0-9a-f]{64}$/.test(id))) throw invalid("an id must be 64 hex digits");
  const texts = [containerName, ...names];
  if (texts.length > mostNames || texts.some((text) => text.length > longest || /\p{Cc}/u.test(text)))
    throw invalid("an endpoint's names are malformed");
  const isOfOne = mac === undefined || (/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && !/^00(:00){5}$/.test(mac));
  if (!isOfOne) throw invalid(`invalid MAC address ${mac}`);
  if (mac?.startsWith(ingressMacPrefix))
    throw invalid(`invalid MAC address ${mac}: ${ingressMacPrefix}… are those by which published ports come in`);
}

/** Claims one address of each family that the network has. @throws {EngineError} as `claimAddress` */
export function claimAddresses(
  tx: Transaction,
  pools: readonly AddressPool[],
  wish: Pick<AttachWish, "ipv4" | "ipv6"> & { readonly owner: AddressClaim["owner"] },
): EndpointAddress[] {
  return ([4, 6] as const).flatMap((family) => {
    const own = pools.filter(({ subnet }) => subnet.includes(":") === (family === 6));
    const wished = family === 4 ? wish.ipv4 : wish.ipv6;
    if (wished !== undefined && parseAddress(wished) === undefined) throw invalid(`invalid address ${wished}`);
    if (own.length > 0) {
      const { address, prefix } = claimFirst(tx, own, wished, wish.owner);
      return [{ address, prefix }];
    }
    if (wished === undefined) return [];
    throw invalid(`invalid endpoint settings:\nno configured subnet or ip-range contain the IP address ${wished}`);
  });
}
