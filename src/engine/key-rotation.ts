import { clusterIn } from "../cluster/certificates.ts";
import { isRotated, nodesAway, nodesBehind, withNextKeys } from "../cluster/key-rotation.ts";
import { conflict, invalid, system } from "../lib/errors.ts";
import { type ClusterNode, observed } from "../model/cluster.ts";
import { settling } from "../model/wireguard.ts";
import type { Snapshot, Store } from "../store/store.ts";
import type { KeyRotationResult } from "./engine.ts";
import type { Parts } from "./parts.ts";

/** Milliseconds for a rotation that is under way to end, and for the new one. */
const patience = { before: 10_000, after: 30_000 } as const;
const least = 1000; // milliseconds between two rotations by age

const namesOf = (nodes: readonly ClusterNode[]) => nodes.map(({ hostname }) => hostname).toSorted();
const rotated = (rows: Snapshot) => isRotated(rows, clusterIn(rows));
const behind = (rows: Snapshot) => namesOf(nodesBehind(rows, clusterIn(rows))).join(", ") || "the leading manager";

/**
 * New keys of WireGuard for all nodes at work.
 * @returns when they are used, and those before are needed by nobody at work
 * @throws {EngineError} unavailable on a node that is no manager; conflict while keys are being rotated; system, naming the
 *   nodes that take too long: the rotation goes on
 */
export async function rotateKeys({ membership }: Pick<Parts, "membership">): Promise<KeyRotationResult> {
  membership.current();
  const { store } = membership.control();
  const { generation: present } = clusterIn(await settled(store)).keyRotation;
  const generation = present + 1;
  await membership.update((tx) => {
    const cluster = clusterIn(tx);
    if (cluster.keyRotation.generation !== present) throw conflict("the keys are being rotated already");
    tx.put("clusters", withNextKeys(cluster, Date.now()));
  });
  const isDone = (rows: Snapshot) => clusterIn(rows).keyRotation.generation >= generation && rotated(rows);
  const rows = await rowsWhen(store, patience.after, isDone);
  if (!isDone(rows)) throw system(`the rotation goes on: it waits for ${behind(rows)}`);
  const ready = rows
    .list("nodes")
    .filter(({ status, wireguard }) => status.state === "ready" && wireguard !== undefined);
  return { generation, nodes: namesOf(ready), away: namesOf(nodesAway(rows, clusterIn(rows))) };
}

/** @returns the rows once the last rotation is done, and has been for a while @throws {EngineError} conflict */
async function settled(store: Store): Promise<Snapshot> {
  for (const end = Date.now() + patience.before; ; ) {
    const rows = await rowsWhen(store, end - Date.now(), rotated);
    if (!rotated(rows)) throw conflict(`the last rotation is not done: it waits for ${behind(rows)}`);
    const after = await rowsWhen(store, settling, (some) => !rotated(some));
    if (rotated(after)) return after;
  }
}

/** The rows when it is so, or after so many milliseconds. */
async function rowsWhen(store: Store, milliseconds: number, isSo: (rows: Snapshot) => boolean): Promise<Snapshot> {
  const late = AbortSignal.timeout(Math.max(0, milliseconds));
  for await (const { snapshot } of store.watch(late)) if (isSo(snapshot)) return snapshot;
  return store.snapshot();
}

/**
 * Says how long keys of WireGuard are used. @param every milliseconds; 0: until somebody asks for others
 * @throws {EngineError} invalid for less than a second; unavailable on a node that is no manager
 */
export async function rotateKeysEvery({ membership }: Pick<Parts, "membership">, every: number): Promise<void> {
  if (every !== 0 && every < least) throw invalid(`keys cannot be rotated more often than every ${least} ms`);
  membership.current();
  await membership.update((tx) => {
    const cluster = clusterIn(tx);
    const keyRotation = { ...cluster.keyRotation, every };
    tx.put("clusters", observed(cluster, { keyRotation }, Date.now()));
  });
}
