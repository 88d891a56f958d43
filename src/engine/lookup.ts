import { conflict, invalid, notFound } from "../lib/errors.ts";
import type { Container } from "../model/container.ts";
import type { Network } from "../model/network.ts";
import { kinds, rowsNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";

/**
 * The network meant by a full id, a full name or the unambiguous beginning of an id, in this order
 * (moby daemon/network.go FindNetwork).
 * @throws {EngineError} not-found; invalid when ambiguous
 */
export function networkNamed(rows: Snapshot, reference: string): Network {
  const found = rowsNamed(rows, "networks", reference);
  if (found.length > 1)
    throw invalid(`network ${reference} is ambiguous (${found.length} matches found based on ID prefix)`);
  if (found[0] === undefined) throw notFound(`network ${reference} not found`);
  return found[0];
}

/**
 * The container meant by a full id, a name (with or without the slash) or the unambiguous beginning of an id.
 * @throws {EngineError} not-found; conflict when ambiguous
 */
export function containerNamed(rows: Snapshot, reference: string): Container {
  const found = rowsNamed(rows, "containers", reference.replace(/^\//, ""));
  if (found.length > 1) throw conflict(`Multiple IDs found with provided prefix: ${reference}`);
  if (found[0] === undefined) throw notFound(`No such container: ${reference}`);
  return found[0];
}

/**
 * The service, secret or config meant by a full id, a full name or the unambiguous beginning of an id, in this order
 * (moby daemon/cluster/helpers.go).
 * @throws {EngineError} not-found; invalid when ambiguous
 */
export function swarmObjectNamed<T extends "services" | "secrets" | "configs">(
  rows: Snapshot,
  table: T,
  reference: string,
): Tables[T] {
  const found = rowsNamed(rows, table, reference);
  const kind = kinds[table];
  if (found.length > 1) throw invalid(`${kind} ${reference} is ambiguous (${found.length} matches found)`);
  if (found[0] === undefined) throw notFound(`${kind} ${reference} not found`);
  return found[0];
}
