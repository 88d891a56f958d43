import { failpoint } from "../lib/failpoint.ts";
import { type Change, type Rows, RowsTransaction } from "./rows.ts";
import { type Commit, type Snapshot, type Store, StoreError, type Transaction } from "./store.ts";
import { Watchers } from "./watchers.ts";

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
  readonly #watchers = new Watchers(() => this.#durable);
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
    this.#watchers.tell(changes);
    try {
      failpoint("store.commit.after");
      for (const { resolve } of waiting) resolve();
    } catch (error) {
      for (const { reject } of waiting) reject(error as Error);
    }
  }

  watch(signal: AbortSignal): AsyncIterable<Commit> {
    return this.#watchers.watch(signal);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flush();
    this.#watchers.close();
    this.#backend.close();
  }
}
