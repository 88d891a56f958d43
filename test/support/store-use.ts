import type { Snapshot, Store, Transaction } from "../../src/store/store.ts";
import { claim } from "../contract/store.ts";

export const portKey = (port: number) => `tcp|0.0.0.0|${port}`;

/** A number in a row. */
export const valueOf = (rows: Snapshot) => Number(rows.get("ports", portKey(1))?.endpointId ?? 0);
export function increment(tx: Transaction): number {
  const value = valueOf(tx) + 1;
  tx.put("ports", claim(1, `${value}`));
  return value;
}

/** Reads a store's watch and keeps every key that it told of, in order. */
export class Follower {
  readonly changed: string[] = [];
  readonly #end = new AbortController();
  readonly #reading: Promise<void>;
  readonly #store: Store;
  #wake = () => {};

  constructor(store: Store, note: (rows: Snapshot) => void = () => {}) {
    this.#store = store;
    this.#reading = (async () => {
      for await (const { snapshot, changed } of store.watch(this.#end.signal)) {
        this.changed.push(...changed.map(({ key }) => key));
        note(snapshot);
        this.#wake();
      }
    })();
  }

  /** Waits until the watch has told of a state. */
  async seen(like: (rows: Snapshot) => boolean): Promise<void> {
    while (!like(this.#store.snapshot()) || this.changed.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 50);
      });
    }
    await new Promise(setImmediate);
  }

  async end(): Promise<void> {
    this.#end.abort();
    await this.#reading;
  }
}
