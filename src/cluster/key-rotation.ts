import { type Cluster, type ClusterNode, type KeyRotation, observed } from "../model/cluster.ts";
import type { Snapshot, Transaction } from "../store/store.ts";

const hour = 3_600_000; // milliseconds
/** How long Docker uses a key of encrypted networks (moby/swarmkit manager/keymanager/keymanager.go, DefaultKeyRotationInterval). */
const defaultAge = 12 * hour;

/** Of a new cluster. */
export const firstKeys = (now: number): KeyRotation => ({
  generation: 1,
  isKnown: false,
  since: now,
  every: defaultAge,
});

/** Of a cluster whose row an earlier version has written, which knew of no generations. */
export function beginKeys(tx: Transaction, now: number): void {
  for (const cluster of tx.list("clusters")) {
    const { keyRotation }: Partial<Cluster> = cluster;
    if (keyRotation === undefined) tx.put("clusters", observed(cluster, { keyRotation: firstKeys(now) }, now));
  }
}

/** Nodes at work whose keys are rotated: the others come to the present generation when they are back. */
const atWork = (rows: Snapshot) =>
  rows.list("nodes").filter(({ status, wireguard }) => status.state === "ready" && wireguard !== undefined);

const keysOf = ({ wireguard }: ClusterNode) => wireguard?.keys ?? [];
const has = (node: ClusterNode, wanted: number) => keysOf(node).some(({ generation }) => generation === wanted);

/** True when every node at work has said its key of the present generation, which nobody has noted yet. */
export function becomesKnown(rows: Snapshot, { keyRotation: { generation, isKnown } }: Cluster): boolean {
  return !isKnown && atWork(rows).every((node) => has(node, generation));
}

/** Nodes at work that have no key of the present generation, or still send by the one before to somebody who has one. */
export const nodesBehind = (rows: Snapshot, { keyRotation: { generation, isKnown } }: Cluster): ClusterNode[] =>
  atWork(rows).filter((node) => !has(node, generation) || (isKnown && node.wireguard?.sends !== generation));

/** True when the nodes at work need no keys but those of the present generation: only then may they be rotated again. */
export const isRotated = (rows: Snapshot, cluster: Cluster): boolean =>
  cluster.keyRotation.isKnown && nodesBehind(rows, cluster).length === 0;

/** Nodes that are away and have no key of the present generation. */
export const nodesAway = (rows: Snapshot, { keyRotation: { generation } }: Cluster): ClusterNode[] =>
  rows
    .list("nodes")
    .filter((node) => node.status.state !== "ready" && node.wireguard !== undefined && !has(node, generation));

/** True when keys have been used for as long as they may, and the last rotation is done. */
export function isDue(rows: Snapshot, cluster: Cluster, now: number): boolean {
  const { every, since } = cluster.keyRotation;
  return every > 0 && now - since >= every && isRotated(rows, cluster);
}

/** The cluster from the moment on that every host is to have other keys. */
export const withNextKeys = (cluster: Cluster, now: number): Cluster => {
  const { generation, every } = cluster.keyRotation;
  const keyRotation = { generation: generation + 1, isKnown: false, since: now, every };
  return observed(cluster, { keyRotation }, now);
};

/** The cluster from the moment on that every node at work has said its key of the present generation. */
export const withKnownKeys = (cluster: Cluster, now: number): Cluster =>
  observed(cluster, { keyRotation: { ...cluster.keyRotation, isKnown: true } }, now);
