import { createHash } from "node:crypto";
import { addressText } from "../lib/address-bytes.ts";
import type { ClusterId, ClusterNode, NodeId } from "../model/cluster.ts";
import type { IpAddress } from "../model/ids.ts";
import type { WireguardEnd } from "../model/wireguard.ts";
import type { Snapshot } from "../store/store.ts";

/** Keys of two generations are used while they are rotated, each with a link and a port: this says which, 0 or 1. */
export const slotOf = (generation: number): 0 | 1 => (generation % 2 === 1 ? 0 : 1);

/** WireGuard's ports are beside VXLAN's, so that `--data-path-port` moves all: 4793 and 4794 of 4789. */
export const wireguardPort = (dataPathPort: number, generation: number): number =>
  dataPathPort + 4 + slotOf(generation);

const digest = (...words: string[]) => createHash("sha256").update(words.join(" ")).digest();
/** A unique local prefix of its own for each cluster (RFC 4193 section 3.1). */
const prefixOf = (cluster: ClusterId) =>
  Buffer.concat([Buffer.from([0xfd]), digest("wireguard", cluster).subarray(0, 5)]);

/** A node's own: it follows from its id, so that none has to be allotted, and no node can say that it has another's. */
export const wireguardAddress = (cluster: ClusterId, node: NodeId): IpAddress =>
  addressText(Buffer.concat([prefixOf(cluster), digest("wireguard", cluster, node).subarray(0, 10)]));

/** Where a node is in WireGuard; undefined for one that has none. */
export function wireguardPlace(rows: Snapshot, { id, wireguard }: ClusterNode): IpAddress | undefined {
  const [cluster] = rows.list("clusters");
  return wireguard === undefined || cluster === undefined ? undefined : wireguardAddress(cluster.id, id);
}

/** A node's end of WireGuard, as the other nodes hear of it; undefined for one that has said no key. */
export function wireguardEnd(rows: Snapshot, node: ClusterNode): WireguardEnd | undefined {
  const address = wireguardPlace(rows, node);
  const { keys = [], sends = 0 } = node.wireguard ?? {};
  return address === undefined || keys.length === 0 ? undefined : { id: node.id, address, keys, sends };
}

/** What is missing on a node for encrypted networks, and how to mend it; undefined where nothing is. */
export function encryptionLack({ wireguard }: Pick<ClusterNode, "wireguard">): string | undefined {
  if (wireguard === undefined) return "an older version runs there";
  return wireguard.by === "none"
    ? "the kernel there has no WireGuard (module wireguard), and wireguard-go is not installed (package wireguard-go)"
    : undefined;
}
