import type { Snapshot } from "./store.ts";
import type { NameClaim, Tables } from "./tables.ts";

/** Tables whose rows have names. */
interface Named {
  readonly networks: Extract<NameClaim["kind"], "network">;
  readonly containers: Extract<NameClaim["kind"], "container">;
  readonly services: Extract<NameClaim["kind"], "service">;
  readonly secrets: Extract<NameClaim["kind"], "secret">;
  readonly configs: Extract<NameClaim["kind"], "config">;
}
/** What a row of each is called. */
export const kinds: { readonly [T in keyof Named]: Named[T] } = {
  networks: "network",
  containers: "container",
  services: "service",
  secrets: "secret",
  configs: "config",
};

/** The row with this id or this name, in full. */
export function rowNamed<T extends keyof Named>(rows: Snapshot, table: T, reference: string): Tables[T] | undefined {
  const named = rows.get("names", `${kinds[table]}|${reference}`)?.id ?? "";
  return rows.get(table, reference) ?? rows.get(table, named);
}

/**
 * The rows meant by a full id, a full name or the beginning of an id, in this order: several where a beginning fits several.
 */
export function rowsNamed<T extends keyof Named>(rows: Snapshot, table: T, reference: string): readonly Tables[T][] {
  const exact = rowNamed(rows, table, reference);
  if (exact !== undefined) return [exact];
  return reference === "" ? [] : rows.list(table).filter(({ id }) => id.startsWith(reference));
}
