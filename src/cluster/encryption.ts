import { createHash } from "node:crypto";
import { addressText } from "../lib/address-bytes.ts";
import type { ClusterId, ClusterNode, NodeId } from "../model/cluster.ts";
import type { Cidr, IpAddress } from "../model/ids.ts";
import type { WireguardEnd } from "../model/peer.ts";
import type { Snapshot } from "../store/store.ts";

/** WireGuard's port is next to VXLAN's, so that `--data-path-port` moves both: 4793 of 4789. */
export const wireguardPort = (dataPathPort: number): number => dataPathPort + 4;

const digest = (...words: string[]) => createHash("sha256").update(words.join(" ")).digest();
/** A unique local prefix of its own for each cluster (RFC 4193 section 3.1). */
const prefixOf = (cluster: ClusterId) =>
  Buffer.concat([Buffer.from([0xfd]), digest("wireguard", cluster).subarray(0, 5)]);

/** Where all nodes of a cluster have their WireGuard addresses. */
export const wireguardRange = (cluster: ClusterId): Cidr =>
  `${addressText(Buffer.concat([prefixOf(cluster), Buffer.alloc(10)]))}/48`;

/** A node's own: it follows from its id, so that none has to be allotted, and no node can say that it has another's. */
export const wireguardAddress = (cluster: ClusterId, node: NodeId): IpAddress =>
  addressText(Buffer.concat([prefixOf(cluster), digest("wireguard", cluster, node).subarray(0, 10)]));

/** A node's end of WireGuard, as the other nodes hear of it; undefined for a node without a key. */
export function wireguardEnd(rows: Snapshot, { id, wireguardKey }: ClusterNode): WireguardEnd | undefined {
  const [cluster] = rows.list("clusters");
  if (wireguardKey === undefined || cluster === undefined) return undefined;
  return { publicKey: wireguardKey, address: wireguardAddress(cluster.id, id) };
}
