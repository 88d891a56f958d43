import { countAssignable, isAssignable, noAddress } from "../../ipam/claim.ts";
import type { AddressPool } from "../../model/address-pool.ts";
import type { NetworkId, PoolId } from "../../model/ids.ts";
import { hasEnded, type Task } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
import { ingressIn } from "../networks.ts";
import { isLive, isPlaced } from "./tasks.ts";

/** Stands for the network by which published ports come in. */
const ingress = "ingress";

/** The networks on which a task has addresses. */
const networksOf = ({ template, isOnIngress }: Task): NetworkId[] => [
  ...template.networks.map(({ network }) => network),
  ...(isOnIngress ? [ingress] : []),
];
const poolsOf = (network: NetworkId, rows: Snapshot): readonly AddressPool[] =>
  rows.where("pools", "network", network === ingress ? (ingressIn(rows)?.id ?? "") : network);

/** The networks on which a task is going to claim addresses: it has a place, and has not said yet what it has. */
const awaitedBy = (task: Task | undefined): NetworkId[] =>
  task !== undefined && isPlaced(task) && isLive(task) && !hasEnded(task.status.state) && task.attachments.length === 0
    ? networksOf(task)
    : [];

/**
 * What is left of the cluster's networks, kept as rows change. A task that is being started may count twice for a moment; one
 * that is told to stop while its node claims addresses for it counts for nothing until the claims are there. What is placed on
 * such an address finds none on its node, fails, and is tried again.
 */
export class Addresses {
  /** How many addresses are left in the pools that were asked for. */
  readonly #pools = new Map<PoolId, { readonly pool: AddressPool; left: number }>();
  readonly #awaited = new Map<NetworkId, number>();
  #freed = new Set<NetworkId | PoolId>();

  /** A claim may have come or gone. */
  noteClaim(key: string, before: Snapshot | undefined, after: Snapshot): void {
    const at = key.lastIndexOf("|");
    const known = this.#pools.get(key.slice(0, at));
    if (known === undefined || !isAssignable(known.pool, key.slice(at + 1))) return;
    const isThere = (rows: Snapshot | undefined) => Number(rows?.get("claims", key) !== undefined);
    const by = isThere(after) - isThere(before);
    known.left -= by;
    if (by < 0) this.#freed.add(known.pool.id);
  }
  /** The pool's row is another one, or gone. */
  notePool(id: PoolId): void {
    this.#pools.delete(id);
  }

  setTask(before: Task | undefined, after: Task | undefined): void {
    const [old, now] = [awaitedBy(before), awaitedBy(after)];
    for (const network of now) this.#await(network, 1);
    for (const network of old) this.#await(network, -1);
    for (const network of old) if (!now.includes(network)) this.#freed.add(network);
  }

  #await(network: NetworkId, by: 1 | -1): void {
    const count = (this.#awaited.get(network) ?? 0) + by;
    if (count === 0) this.#awaited.delete(network);
    else this.#awaited.set(network, count);
  }

  /** Networks and pools where addresses were given back since this was asked last. */
  takeFreed(): ReadonlySet<NetworkId | PoolId> {
    const freed = this.#freed;
    this.#freed = new Set();
    return freed;
  }
  get hasFreed(): boolean {
    return this.#freed.size > 0;
  }

  /** For how many tasks on the same networks as this one there are addresses, and what lacks to one more. */
  roomFor(task: Task, rows: Snapshot): { readonly count: number; readonly lack: string } {
    let room = { count: Infinity, lack: "" };
    for (const network of networksOf(task))
      for (const pools of Map.groupBy(poolsOf(network, rows), ({ subnet }) => subnet.includes(":")).values()) {
        const left = pools.reduce((sum, pool) => sum + this.#leftIn(pool, rows), -(this.#awaited.get(network) ?? 0));
        const [pool] = pools;
        if (pool !== undefined && left < room.count) room = { count: Math.max(left, 0), lack: noAddress(rows, pool) };
      }
    return room;
  }

  #leftIn(pool: AddressPool, rows: Snapshot): number {
    const known = this.#pools.get(pool.id) ?? { pool, left: countLeft(pool, rows) };
    this.#pools.set(pool.id, known);
    return known.left;
  }
}

const countLeft = (pool: AddressPool, rows: Snapshot): number =>
  countAssignable(pool) -
  rows.where("claims", "pool", pool.id).filter(({ address }) => isAssignable(pool, address)).length;

/** @param freed as `takeFreed` has it */
export const isFreedFor = (task: Task, freed: ReadonlySet<NetworkId | PoolId>, rows: Snapshot): boolean =>
  networksOf(task).some((network) => freed.has(network) || poolsOf(network, rows).some(({ id }) => freed.has(id)));
