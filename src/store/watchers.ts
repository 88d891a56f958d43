import { type Change, keyOf, type Rows, tableNames } from "./rows.ts";
import type { Commit, RowKey, Snapshot } from "./store.ts";

/** Tells readers of what was committed, each at its own pace: what a reader was too slow for comes to it as one. */
export class Watchers {
  readonly #current: () => Rows;
  readonly #tell = new Set<(changes: readonly Change[]) => void>();
  #closed = false;
  #reason: Error | undefined;

  /** @param current what is committed; it has the changes of `tell` before that is called */
  constructor(current: () => Rows) {
    this.#current = current;
  }

  tell(changes: readonly Change[]): void {
    for (const tell of this.#tell) tell(changes);
  }

  /** Ends every `watch`; with a reason, by throwing it. */
  close(reason?: Error): void {
    this.#closed = true;
    this.#reason = reason;
    this.tell([]);
  }

  /** As `Store.watch`. */
  async *watch(signal: AbortSignal): AsyncIterable<Commit> {
    const changed = new Map<string, RowKey>();
    let wake = () => {};
    const note = (key: RowKey) => changed.set(`${key.table}/${key.key}`, key);
    const tell = (changes: readonly Change[]) => {
      for (const [key] of changes) note(key);
      wake();
    };
    for (const key of everyKey(this.#current())) note(key);
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    this.#tell.add(tell);
    try {
      let first = true;
      while (!signal.aborted && !this.#closed) {
        if (changed.size > 0 || first) {
          const commit = { snapshot: this.#current(), changed: [...changed.values()] };
          changed.clear();
          first = false;
          yield commit;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      if (this.#reason !== undefined && !signal.aborted) throw this.#reason;
    } finally {
      this.#tell.delete(tell);
      signal.removeEventListener("abort", abort);
    }
  }
}

function* everyKey(rows: Snapshot): Iterable<RowKey> {
  for (const table of tableNames) for (const row of rows.list(table)) yield { table, key: keyOf(table, row) };
}
