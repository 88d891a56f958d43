import type { TableName, Tables } from "./tables.ts";

/** `containers/<id>`. */
export interface RowKey {
  readonly table: TableName;
  readonly key: string;
}

/** A consistent, immutable picture of all rows. */
export interface Snapshot {
  /** Of the last commit in it. It grows with each; on one host from 0, by one. */
  readonly revision: number;
  get<T extends TableName>(table: T, key: string): Tables[T] | undefined;
  /** In the order of keys. */
  list<T extends TableName>(table: T): readonly Tables[T][];
  /** The rows whose indexed field has this value (`indexes` in tables.ts), in the order of keys. */
  where<T extends TableName>(table: T, index: string, value: string): readonly Tables[T][];
}

/** A snapshot with the changes made so far, and the verbs that make more. */
export interface Transaction extends Snapshot {
  /** @throws {StoreError} EXISTS when the key is taken: a claim. */
  insert<T extends TableName>(table: T, row: Tables[T]): void;
  /** Inserts or replaces. */
  put<T extends TableName>(table: T, row: Tables[T]): void;
  /** Deleting what is not there is no error. */
  delete(table: TableName, key: string): void;
}

/**
 * EXISTS: a claim is taken. UNAVAILABLE: the cluster's store did not answer in time; whether the update was committed is not
 * known. FENCED: who writes is not the leader any more.
 */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: "EXISTS" | "CORRUPT" | "NEWER" | "LOCKED" | "WRITE" | "CLOSED" | "UNAVAILABLE" | "FENCED";
  constructor(code: StoreError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Commit {
  readonly snapshot: Snapshot;
  readonly changed: readonly RowKey[];
}

export interface Store {
  /** A consistent picture, from memory, without waiting. */
  snapshot(): Snapshot;
  /**
   * Commits all of `change` or none; an error thrown by `change` commits nothing and is thrown on.
   * `change` may run more than once, on a newer snapshot, so it must be pure.
   * Resolves when the commit is durable. A change that changes nothing commits nothing.
   */
  update<R>(
    change: (tx: Transaction) => R,
    signal?: AbortSignal,
  ): Promise<{ readonly result: R; readonly revision: number }>;
  /** The current state first (with every row in `changed`), then every later commit in order. Never a gap. */
  watch(signal: AbortSignal): AsyncIterable<Commit>;
  close(): Promise<void>;
}
