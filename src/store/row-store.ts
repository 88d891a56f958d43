import { failpoint } from "../lib/failpoint.ts";
import { type Change, type Rows, RowsTransaction, tableNames } from "./rows.ts";
import { type Commit, type RowKey, type Snapshot, type Store, StoreError, type Transaction } from "./store.ts";
import { keys } from "./tables.ts";

/** Where rows are kept. */
export interface Backend {
  /** Writes all or nothing; durable when it returns. */
  write(changes: readonly Change[], revision: number): void;
  close(): void;
}

interface Waiting {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Order, announcement and grouping of commits, over a backend. Updates of one turn of the event loop are one write, and
 * all fail when it fails. Snapshots and watchers see what is durable only.
 */
export class RowStore implements Store {
  readonly #backend: Backend;
  readonly #watchers = new Set<(changes: readonly Change[]) => void>();
  /** What is durable, and what will be when the waiting updates are written. */
  #durable: Rows;
  #latest: Rows;
  #waiting: Waiting[] = [];
  #closed = false;

  constructor(backend: Backend, rows: Rows) {
    this.#backend = backend;
    this.#durable = rows;
    this.#latest = rows;
  }

  snapshot(): Snapshot {
    return this.#durable;
  }

  async update<R>(change: (tx: Transaction) => R, signal?: AbortSignal): Promise<{ result: R; revision: number }> {
    if (this.#closed) throw new StoreError("CLOSED", "the store is closed");
    signal?.throwIfAborted();
    const tx = new RowsTransaction(this.#latest);
    const result = change(tx);
    const changes = tx.changes();
    if (changes.length > 0) this.#latest = this.#latest.with(changes, this.#latest.revision + 1);
    const { revision } = this.#latest;
    // What a change without changes has read may still be on its way to the disk.
    if (this.#latest !== this.#durable) await this.#written(changes);
    return { result, revision };
  }

  #written(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ changes, resolve, reject });
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const changes = waiting.flatMap((w) => w.changes);
    try {
      failpoint("store.commit.before");
      this.#backend.write(changes, this.#latest.revision);
    } catch (error) {
      this.#latest = this.#durable;
      const cause = error as Error;
      const refused = new StoreError("WRITE", `the store could not be written: ${cause.message}`, { cause });
      for (const { reject } of waiting) reject(refused);
      return;
    }
    this.#durable = this.#latest;
    for (const tell of this.#watchers) tell(changes);
    try {
      failpoint("store.commit.after");
      for (const { resolve } of waiting) resolve();
    } catch (error) {
      for (const { reject } of waiting) reject(error as Error);
    }
  }

  async *watch(signal: AbortSignal): AsyncIterable<Commit> {
    const changed = new Map<string, RowKey>();
    let wake = () => {};
    const note = (key: RowKey) => changed.set(`${key.table}/${key.key}`, key);
    const tell = (changes: readonly Change[]) => {
      for (const [key] of changes) note(key);
      wake();
    };
    for (const key of everyKey(this.#durable)) note(key);
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    this.#watchers.add(tell);
    try {
      let first = true;
      while (!signal.aborted && !this.#closed) {
        if (changed.size > 0 || first) {
          const commit = { snapshot: this.#durable, changed: [...changed.values()] };
          changed.clear();
          first = false;
          yield commit;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#watchers.delete(tell);
      signal.removeEventListener("abort", abort);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flush();
    for (const tell of this.#watchers) tell([]);
    this.#backend.close();
  }
}

function* everyKey(rows: Snapshot): Iterable<RowKey> {
  for (const table of tableNames)
    for (const row of rows.list(table)) yield { table, key: (keys[table] as (row: unknown) => string)(row) };
}
