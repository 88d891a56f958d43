import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { type Cluster, type ClusterNode, type NodeId, observed } from "../../model/cluster.ts";
import { settling } from "../../model/wireguard.ts";
import type { EtcdClient } from "../../store/etcd/client.ts";
import { campaign } from "../../store/etcd/election.ts";
import type { Member } from "../../store/etcd/members.ts";
import type { EtcdStore } from "../../store/etcd/etcd-store.ts";
import { openLease } from "../../store/etcd/lease.ts";
import type { RowKey, Snapshot, Store, Transaction } from "../../store/store.ts";
import type { Log } from "../etcd/etcd-process.ts";
import { clusterIn } from "../certificates.ts";
import { finishRotation } from "../identity/authority.ts";
import { digestOf } from "../identity/token.ts";
import { newSwarmId } from "../identity/names.ts";
import { becomesKnown, isDue, withKnownKeys, withNextKeys } from "../key-rotation.ts";
import { type Members, removeVote } from "../etcd/etcd-members.ts";
import { Conductor } from "../orchestration/conductor.ts";
import type { Sessions } from "./sessions.ts";

export interface LeaderParts {
  readonly client: EtcdClient;
  readonly store: EtcdStore;
  readonly members: Members;
  readonly sessions: Sessions;
  readonly self: NodeId;
  readonly clusterId: string;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
  /** @returns what calls it off */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  readonly log: Log;
}

const leaseSeconds = 5; // a leader that is gone is followed by another in so long at most
const retry = 1000; // milliseconds
const look = 1000; // milliseconds between looks at the age of keys

/** Stands for leader, and leads when it is its turn, until the signal. */
export async function runLeader(parts: LeaderParts, signal: AbortSignal): Promise<void> {
  const { client, store, self, clusterId, log } = parts;
  while (!signal.aborted) {
    // One that is being demoted leads no more: another one takes its member away.
    if (!isManager(store.snapshot(), self)) {
      await sleep(retry, undefined, { signal }).catch(() => {});
      continue;
    }
    const lease = await openLease(client, { ttl: leaseSeconds });
    try {
      const leadership = await campaign(client, lease, { key: `/tombolo-leader/${clusterId}`, value: self, signal });
      log.info({ node: self }, "this manager leads");
      await new Leader(parts, store.fenced(leadership)).run(AbortSignal.any([signal, leadership.lost]));
      if (!leadership.lost.aborted) await leadership.resign();
    } catch (err) {
      if (!signal.aborted) log.warn({ err }, "the leadership ended");
    } finally {
      await lease.revoke();
    }
  }
}

const isManager = (rows: Snapshot, id: NodeId) => rows.get("nodes", id)?.role === "manager";

type Parts = Omit<LeaderParts, "client" | "store" | "clusterId" | "sessions"> & {
  readonly sessions: Pick<Sessions, "inherit">;
};

/** What one manager does for all. Every write is fenced by its election. */
export class Leader {
  readonly #parts: Parts;
  readonly #store: Store;

  constructor(parts: Parts, fenced: Store) {
    this.#parts = parts;
    this.#store = fenced;
  }

  /** Until the signal, or until this node is to be no manager any more. */
  async run(signal: AbortSignal): Promise<void> {
    const { self, sessions, now, after, members } = this.#parts;
    const listed = await members.list(); // before the rows are up to date: who is among them has had its row by then
    await this.#begin();
    // Whose streams were held by managers that are not there have their time to come to another one.
    sessions.inherit((holder) => holder !== self && !isReady(this.#store.snapshot(), holder));
    const end = new AbortController();
    const either = AbortSignal.any([signal, end.signal]);
    const conductor = new Conductor({ store: this.#store, now, after, newId: newSwarmId });
    const duties = [
      this.#lookAfterNodes(either),
      this.#takeVotes(listed, either),
      this.#rotateByAge(either),
      conductor.run(either),
    ];
    try {
      await Promise.race(duties);
    } finally {
      end.abort();
      await Promise.allSettled(duties);
    }
  }

  /** Says that it leads. With that in the snapshot, everything is in it that former leaders have written, or ever will. */
  async #begin(): Promise<void> {
    const { self, now } = this.#parts;
    await this.#store.update((tx) => {
      const row = tx.get("nodes", self);
      const manager = row && wished(row, self);
      // A later time, so that there is something to write.
      const time = Math.max(now(), (row?.updatedAt ?? 0) + 1);
      if (row !== undefined) tx.put("nodes", observed(row, manager === undefined ? {} : { manager }, time));
    });
  }

  async #lookAfterNodes(signal: AbortSignal): Promise<void> {
    const { self, sessions } = this.#parts;
    for await (const { snapshot, changed } of this.#store.watch(signal)) {
      if (!isManager(snapshot, self)) return;
      const nodes = changed.flatMap(({ table, key }) => (table === "nodes" ? (snapshot.get("nodes", key) ?? []) : []));
      if (nodes.some((node) => unlike(node, self))) await this.#store.update((tx) => settle(tx, nodes, self));
      if (isRotated(snapshot)) await this.#finishRotation();
      await this.#noteKeys(snapshot);
      const down = new Set(nodes.flatMap(({ id, status }) => (status.state === "down" ? id : [])));
      if (down.size > 0) sessions.inherit((holder) => down.has(holder));
      const silent = snapshot.list("acknowledgements").filter(({ managerId }) => !isManager(snapshot, managerId));
      if (silent.length > 0)
        await this.#store.update((tx) => silent.forEach(({ managerId }) => tx.delete("acknowledgements", managerId)));
    }
  }

  /** Of who is no manager any more; also of who was removed while nobody led. @param listed etcd's members, each with its node's id as name */
  async #takeVotes(listed: readonly Member[], signal: AbortSignal): Promise<void> {
    const rows = this.#store.snapshot();
    for (const { id, name } of listed)
      if (name !== "" && rows.get("nodes", name) === undefined) await this.#dismiss(name, id.toString(16), signal);
    let before: Snapshot | undefined;
    for await (const { snapshot, changed } of this.#store.watch(signal)) {
      for (const { id, memberId } of votesToTake(changed, before, snapshot)) await this.#dismiss(id, memberId, signal);
      before = snapshot;
    }
  }

  async #finishRotation(): Promise<void> {
    this.#parts.log.info({}, "every node has a certificate of the new root CA: the old one is trusted no more");
    await this.#store.update((tx) => {
      const [cluster] = tx.list("clusters");
      if (cluster === undefined || !isRotated(tx)) return;
      tx.put("clusters", observed(cluster, { authority: finishRotation(cluster.authority) }, Date.now()));
    });
  }

  /** The keys of WireGuard that every node at work has said are known: the nodes may do without those before. */
  async #noteKeys(rows: Snapshot): Promise<void> {
    const [cluster] = rows.list("clusters");
    if (cluster === undefined || !becomesKnown(rows, cluster)) return;
    await this.#changeKeys(cluster, withKnownKeys);
  }

  async #rotateByAge(signal: AbortSignal): Promise<void> {
    let dueFor = 0; // milliseconds
    for (; !signal.aborted; await sleep(look, undefined, { signal, ref: false }).catch(() => {})) {
      const rows = this.#store.snapshot();
      const [cluster] = rows.list("clusters");
      dueFor = cluster !== undefined && isDue(rows, cluster, Date.now()) ? dueFor + look : 0;
      if (cluster === undefined || dueFor <= settling) continue;
      dueFor = 0;
      this.#parts.log.info({ generation: cluster.keyRotation.generation + 1 }, "the hosts get new keys of WireGuard");
      await this.#changeKeys(cluster, withNextKeys).catch((err: unknown) => {
        if (!signal.aborted) this.#parts.log.warn({ err }, "the keys of WireGuard could not be rotated yet");
      });
    }
  }

  /** The nodes' rows are not of the transaction: it would be at odds with every other write of a node. */
  async #changeKeys({ keyRotation }: Cluster, change: (cluster: Cluster, now: number) => Cluster): Promise<void> {
    await this.#store.update((tx) => {
      const now = clusterIn(tx);
      if (isDeepStrictEqual(now.keyRotation, keyRotation)) tx.put("clusters", change(now, Date.now()));
    });
  }

  /** Takes the vote of who is no manager any more, then its place in the row. */
  async #dismiss(id: NodeId, memberId: string, signal: AbortSignal): Promise<void> {
    const { members, log } = this.#parts;
    while (!signal.aborted)
      try {
        await removeVote(members, memberId);
        break;
      } catch (err) {
        log.warn({ err, node: id }, "a member of etcd could not be removed yet");
        await sleep(retry, undefined, { signal }).catch(() => {});
      }
    await this.#store.update((tx) => {
      const row = tx.get("nodes", id);
      if (row?.role !== "worker" || row.manager === undefined) return;
      const { manager: _, ...rest } = row;
      tx.put("nodes", observed<ClusterNode>(rest, {}, Date.now()));
    });
  }
}

const isReady = (rows: Snapshot, id: NodeId) => rows.get("nodes", id)?.status.state === "ready";

/** True when the root is being rotated, and no node has a certificate of the present one any more. */
function isRotated(rows: Snapshot): boolean {
  const next = rows.list("clusters")[0]?.authority.next;
  if (next === undefined) return false;
  const digest = digestOf(next.certificate);
  return rows.list("nodes").every(({ certificate }) => certificate.root === digest);
}

/** The votes of who is no manager any more; of who was demoted and removed before anybody looked, too. */
const votesToTake = (changed: readonly RowKey[], before: Snapshot | undefined, after: Snapshot) =>
  changed.flatMap(({ table, key: id }) => {
    if (table !== "nodes") return [];
    const row = after.get(table, id);
    const { manager } = row ?? before?.get(table, id) ?? {};
    return manager === undefined || row?.role === "manager" ? [] : [{ id, memberId: manager.memberId }];
  });

/** What the leader writes of managers: who leads, and who can be reached. */
function wished({ id, status, manager }: ClusterNode, self: NodeId): ClusterNode["manager"] {
  if (manager === undefined) return undefined;
  const reachability = status.state === "down" ? "unreachable" : "reachable";
  return { ...manager, leader: id === self, reachability };
}
function unlike(node: ClusterNode, self: NodeId): boolean {
  const wish = wished(node, self);
  return wish?.leader !== node.manager?.leader || wish?.reachability !== node.manager?.reachability;
}
function settle(tx: Transaction, nodes: readonly ClusterNode[], self: NodeId): void {
  for (const { id } of nodes) {
    const row = tx.get("nodes", id);
    const manager = row && wished(row, self);
    if (row !== undefined && manager !== undefined && unlike(row, self))
      tx.put("nodes", observed(row, { manager }, Date.now()));
  }
}
