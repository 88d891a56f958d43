import type { Backend } from "../model/service.ts";
import type { Snapshot } from "./store.ts";
import { placeOn } from "./tables.ts";

/** A task that takes connections of a service. */
export interface Reached {
  readonly backend: Backend;
  /** True when it is on this host. */
  readonly isHere: boolean;
}

/**
 * The tasks of a service on a network that take connections and whose endpoints are known: without one a task cannot be reached,
 * or is gone already. By their ids.
 */
export const reachedBackends = (
  rows: Snapshot,
  { serviceId, networkId }: Pick<Backend, "serviceId" | "networkId">,
): Reached[] =>
  rows.where("backends", "virtual", `${serviceId}|${networkId}`).flatMap((backend) => {
    const place = placeOn(networkId, backend.addresses);
    const isHere = rows.where("endpoints", "place", place).length > 0;
    return isHere || rows.where("peers", "place", place).length > 0 ? [{ backend, isHere }] : [];
  });
