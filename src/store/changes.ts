import type { Commit, Snapshot } from "./store.ts";
import type { TableName, Tables } from "./tables.ts";

/** A row as it was before a commit and as it is after it; absent when it was not there, or is not any more. */
export interface Changed<T extends TableName> {
  readonly key: string;
  readonly old: Tables[T] | undefined;
  readonly row: Tables[T] | undefined;
}

/** What a commit changed in a table, in the commit's order. @param before undefined: nothing was there */
export const changesOf = <T extends TableName>(
  table: T,
  before: Snapshot | undefined,
  { snapshot, changed }: Commit,
): Changed<T>[] =>
  changed.flatMap((one) =>
    one.table === table ? { key: one.key, old: before?.get(table, one.key), row: snapshot.get(table, one.key) } : [],
  );
