import { randomUUID } from "node:crypto";
import type { Rows } from "../rows.ts";
import { type Commit, type Snapshot, type Store, StoreError, type Transaction } from "../store.ts";
import type { Outcome } from "./attempt.ts";
import { createEtcdClient, type EtcdAddress, type EtcdClient } from "./client.ts";
import { Committer, type Update } from "./committer.ts";
import { Layout } from "./layout.ts";
import { list, Replica } from "./replica.ts";
import { type Fence, readCommit } from "./request.ts";

export type { Fence } from "./request.ts";

/**
 * Flags of the etcd that we run. Its defaults, 128 and 1.5 MiB, suffice for all that serves calls of users; a restore or a
 * change of many rows at once needs more.
 */
export const etcdLimits = ["--max-txn-ops=65536", `--max-request-bytes=${8 << 20}`] as const;

export interface EtcdStoreOptions {
  /** Where etcd is; or a client, which is not closed with the store. */
  readonly etcd: EtcdAddress | EtcdClient;
  /** In front of every key, without a slash at the end: `/tombolo/<cluster>`. */
  readonly prefix: string;
  /** 32 bytes: rows are sealed with it, on etcd's disk and on the way there. Absent: they are in clear. */
  readonly key?: Buffer;
  /** Carried by every write, as with `fenced`. */
  readonly fence?: Fence;
}

/**
 * Rows of the cluster. Snapshots are from memory and go on when etcd cannot be reached. Updates are serializable over all
 * stores with the prefix, and committed when they resolve; those of one moment are committed together.
 * `update` throws StoreError UNAVAILABLE after five seconds without an answer: it may have been committed, or may still be.
 */
export interface EtcdStore extends Store {
  /** The same store, whose updates are refused with StoreError FENCED unless the key is there since that revision. */
  fenced(fence: Fence): Store;
}

interface Waiting extends Update {
  readonly signal: AbortSignal | undefined;
  readonly resolve: (done: { readonly result: unknown; readonly revision: number }) => void;
  readonly reject: (reason: unknown) => void;
}

/** Reads all rows, and follows them. @throws {StoreError} UNAVAILABLE after five seconds, CORRUPT */
export async function openEtcdStore({ etcd, prefix, key, fence }: EtcdStoreOptions): Promise<EtcdStore> {
  const ours = "kv" in etcd ? undefined : createEtcdClient(etcd);
  const client = "kv" in etcd ? etcd : (ours as EtcdClient);
  const layout = new Layout(prefix, key);
  try {
    const { rows, others } = await list(client, layout);
    await forgetWriters(client, layout, others);
    const replica = new Replica(client, layout, rows);
    const committer = new Committer(randomUUID(), { client, layout, replica });
    return new Opened({ replica, committer, fence, close: () => ours?.close() });
  } catch (error) {
    ours?.close();
    throw error;
  }
}

/** A writer that was killed leaves its key. One that is at work needs what it wrote for some seconds only. */
async function forgetWriters(
  client: EtcdClient,
  layout: Layout,
  found: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
): Promise<void> {
  const day = 86_400_000;
  const old = found.filter(({ key, value }) => layout.isCommits(key) && readCommit(value).at < Date.now() - day);
  await Promise.allSettled(old.map(({ key }) => client.kv.deleteRange({ key }, { deadline: 1000 })));
}

interface Parts {
  readonly replica: Replica;
  readonly committer: Committer;
  readonly fence: Fence | undefined;
  close(): void;
}

class Opened implements EtcdStore {
  readonly #parts: Parts;
  readonly #queue: Waiting[] = [];
  #working: Promise<void> | undefined;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  snapshot(): Snapshot {
    return this.#parts.replica.rows satisfies Rows;
  }

  watch(signal: AbortSignal): AsyncIterable<Commit> {
    return this.#parts.replica.watch(signal);
  }

  update<R>(change: (tx: Transaction) => R, signal?: AbortSignal): Promise<{ result: R; revision: number }> {
    return this.#update(change, signal, this.#parts.fence);
  }

  fenced(fence: Fence): Store {
    return {
      snapshot: () => this.snapshot(),
      watch: (signal) => this.watch(signal),
      update: (change, signal) => this.#update(change, signal, fence),
      close: () => this.close(),
    };
  }

  async #update<R>(change: (tx: Transaction) => R, signal: AbortSignal | undefined, fence: Fence | undefined) {
    if (this.#closed) throw new StoreError("CLOSED", "the store is closed");
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<{ result: unknown; revision: number }>();
    this.#queue.push({ change, fence, signal, resolve, reject });
    this.#working ??= this.#work();
    return (await promise) as { result: R; revision: number };
  }

  async #work(): Promise<void> {
    await new Promise(setImmediate); // updates of one turn of the event loop go together
    while (this.#queue.length > 0) await this.#commitSome();
    this.#working = undefined;
  }

  async #commitSome(): Promise<void> {
    const { replica, committer } = this.#parts;
    if (replica.failure !== undefined) return this.#refuseAll(replica.failure);
    const { outcomes, revision } = await committer.commit(this.#queue.map(heeding));
    const done = this.#queue.splice(0, outcomes.length);
    for (const [at, waiting] of done.entries()) settle(waiting, outcomes[at] as Outcome, revision);
    const [first] = outcomes;
    // Those that came meanwhile would wait as long for the same answer.
    if (first && "error" in first && first.error instanceof StoreError && first.error.code === "UNAVAILABLE")
      this.#refuseAll(first.error);
  }

  #refuseAll(reason: Error): void {
    for (const { reject } of this.#queue.splice(0)) reject(reason);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#working;
    await this.#parts.committer.end();
    this.#parts.replica.close();
    this.#parts.close();
  }
}

/** An update whose signal was aborted meanwhile changes nothing. */
const heeding = ({ change, fence, signal }: Waiting): Update => ({
  fence,
  change: (tx) => {
    signal?.throwIfAborted();
    return change(tx);
  },
});

function settle({ resolve, reject }: Waiting, outcome: Outcome, revision: number): void {
  if ("error" in outcome) reject(outcome.error);
  else resolve({ result: outcome.result, revision });
}
