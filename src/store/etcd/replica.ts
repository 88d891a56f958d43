import { setTimeout as sleep } from "node:timers/promises";
import { type Change, changesBetween, type Row, Rows } from "../rows.ts";
import { type Commit, StoreError } from "../store.ts";
import type { TableName } from "../tables.ts";
import { Watchers } from "../watchers.ts";
import { answered, patience, unavailable } from "./answers.ts";
import type { EtcdClient } from "./client.ts";
import { follow } from "./follow.ts";
import { Event_EventType, type KeyValue } from "./gen/kv_pb.ts";
import type { RangeResponse, WatchResponse } from "./gen/rpc_pb.ts";
import type { KeyRange, Layout } from "./layout.ts";

const pageSize = 2000n;
/** Milliseconds without a revision that there must be, until another member is asked. */
const overdue = 1000;

interface Listing {
  readonly rows: Rows;
  /** Keys under the prefix that hold no row. */
  readonly others: readonly KeyValue[];
}

/** All keys under the prefix as of one revision. @throws {StoreError} UNAVAILABLE, CORRUPT */
export async function list(client: EtcdClient, layout: Layout): Promise<Listing> {
  for (;;) {
    const found = await read(client, layout).catch((error: Error) => {
      if (!/has been compacted/.test(error.message)) throw error;
    });
    if (found !== undefined) return found; // else the first page's revision was gone before the last page
  }
}

async function read(client: EtcdClient, layout: Layout): Promise<Listing> {
  const rows: (readonly [TableName, Row])[] = [];
  const others: KeyValue[] = [];
  let revision = 0n;
  for await (const { kvs, header } of pages(client, layout)) {
    if (revision === 0n) revision = header?.revision ?? 0n;
    for (const kv of kvs) {
      const change = layout.read(kv);
      if (change === undefined) others.push(kv);
      else if (change[1] !== undefined) rows.push([change[0].table, change[1]]);
    }
  }
  return { rows: Rows.of(Number(revision), rows), others };
}

/**
 * All keys under the prefix as of the first page's revision. For a page etcd 3.4 looks at every key of the range that it is
 * a page of: what is more than one page is read in small ranges.
 */
async function* pages(client: EtcdClient, layout: Layout): AsyncGenerator<RangeResponse> {
  const first = await page(client, layout.all, 0n);
  yield first;
  if (!first.more) return;
  const revision = first.header?.revision ?? 0n;
  for (const part of layout.partsFrom(nextOf(first)))
    for (let key: Uint8Array | undefined = part.key; key !== undefined; ) {
      const next: RangeResponse = await page(client, { ...part, key }, revision);
      yield next;
      key = next.more ? nextOf(next) : undefined;
    }
}

const page = (client: EtcdClient, range: KeyRange, revision: bigint) =>
  answered((options) => client.kv.range({ ...range, limit: pageSize, revision }, options));
/** Where the next page begins. */
const nextOf = ({ kvs }: RangeResponse) => Buffer.concat([(kvs.at(-1) as KeyValue).key, Buffer.of(0)]);

/** The rows in memory, kept current by one watch. Its revision is etcd's: nothing up to it is missing. */
export class Replica {
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  readonly #watchers = new Watchers(() => this.#rows);
  readonly #end = new AbortController();
  readonly #waiting = new Set<() => void>();
  #rows: Rows;
  #reopen = () => {};
  #failure: Error | undefined;

  constructor(client: EtcdClient, layout: Layout, rows: Rows) {
    this.#client = client;
    this.#layout = layout;
    this.#rows = rows;
    void this.#keep();
  }

  get rows(): Rows {
    return this.#rows;
  }
  /** Why it is not current any more, for good: somebody wrote what is no row. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  watch(signal: AbortSignal): AsyncIterable<Commit> {
    return this.#watchers.watch(signal);
  }

  /** Waits until the rows are as of that revision or a later one. @throws {StoreError} UNAVAILABLE after five seconds */
  async reached(revision: number): Promise<void> {
    const end = performance.now() + patience;
    while (this.#rows.revision < revision) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() >= end) throw unavailable(`revision ${revision} is written, but did not arrive here`);
      if (!(await this.#newer(overdue))) this.#reopen();
    }
  }

  /** @returns false when nothing came in so many milliseconds */
  #newer(most: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (came: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve(came);
      };
      const wake = () => done(true);
      const timer = setTimeout(done, most, false);
      this.#waiting.add(wake);
    });
  }

  async #keep(): Promise<void> {
    const { signal } = this.#end;
    try {
      while (!signal.aborted) {
        const from = BigInt(this.#rows.revision) + 1n;
        const onOpen = (reopen: () => void) => {
          this.#reopen = reopen;
        };
        for await (const { events } of follow(this.#client, { range: this.#layout.all, from, signal, onOpen }))
          this.#apply(events);
        if (!signal.aborted) await this.#listAgain();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#failure = error as Error;
      this.#watchers.close(this.#failure);
      for (const wake of this.#waiting) wake();
    }
  }

  #apply(events: WatchResponse["events"]): void {
    const changes = events.flatMap(({ type, kv }) => {
      const change = kv && this.#layout.read(kv, type === Event_EventType.DELETE);
      return change === undefined ? [] : [change];
    });
    this.#become(this.#rows.with(changes, Number(events.at(-1)?.kv?.modRevision)), changes);
  }

  async #listAgain(): Promise<void> {
    try {
      const { rows } = await list(this.#client, this.#layout);
      if (!this.#end.signal.aborted) this.#become(rows, changesBetween(this.#rows, rows));
    } catch (error) {
      if (error instanceof StoreError && error.code === "CORRUPT") throw error;
      await sleep(200); // not reachable, or compacted while it was read
    }
  }

  #become(rows: Rows, changes: readonly Change[]): void {
    this.#rows = rows;
    if (changes.length > 0) this.#watchers.tell(changes);
    for (const wake of this.#waiting) wake();
  }

  close(): void {
    this.#end.abort();
    this.#watchers.close();
  }
}
