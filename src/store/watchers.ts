import type { Change, Rows } from "./rows.ts";
import type { Commit, RowKey } from "./store.ts";

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
    const tell = (changes: readonly Change[]) => {
      for (const [key] of changes) changed.set(`${key.table}/${key.key}`, key);
      wake();
    };
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    this.#tell.add(tell);
    try {
      if (!signal.aborted && !this.#closed) yield everythingIn(this.#current());
      while (!signal.aborted && !this.#closed) {
        if (changed.size > 0) {
          const keys = [...changed.values()];
          changed.clear();
          yield { snapshot: this.#current(), changed: keys };
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

const everythingIn = (rows: Rows): Commit => ({ snapshot: rows, changed: rows.keys });
