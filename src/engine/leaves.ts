import { forbidden } from "../lib/errors.ts";
import type { Network } from "../model/network.ts";
import type { Snapshot } from "../store/store.ts";
import { leafOf } from "../store/tables.ts";

/**
 * Endpoints on one bridge. Linux gives it 1,023 ports (net/bridge/br_private.h, BR_MAX_PORTS): the rest is for leaves,
 * the tunnel, and what users plug in themselves.
 */
export const leafSize = 1000;
/** Leaves of one network on one host, besides its root. */
export const mostLeaves = 16;

/**
 * The bridge of a network for one more endpoint, the first that has a place; a driver without bridges takes no notice.
 * @returns the leaf's number, 1 to `mostLeaves`; undefined for the root @throws {EngineError} forbidden when all are full
 */
export function leafFor(rows: Snapshot, { id, spec }: Network): number | undefined {
  for (let leaf = 0; leaf <= mostLeaves; leaf += 1)
    if (rows.where("endpoints", "leaf", leafOf({ networkId: id, leaf })).length < leafSize) return leaf || undefined;
  throw forbidden(`network ${spec.name} has ${leafSize * (mostLeaves + 1)} containers on this host: it takes no more`);
}
