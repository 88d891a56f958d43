import { setTimeout as sleep } from "node:timers/promises";
import { answered } from "./answers.ts";
import type { EtcdClient } from "./client.ts";

/** What is kept as long as its holder lives: keys that were put with it go when it is lost. */
export interface Lease {
  readonly id: bigint;
  /** Seconds, as etcd granted them. */
  readonly ttl: number;
  /** Aborted when etcd ended it, when it was not renewed for its time to live, and when it was given back. */
  readonly lost: AbortSignal;
  /** Gives it back: its keys go at once. */
  revoke(): Promise<void>;
}

/**
 * A lease that is renewed three times in its time to live, at another member when one does not answer.
 * Our clock starts when a renewal is sent, etcd's when it comes: we give up first, as long as the process runs at all. One that
 * was paused learns late, so what it writes has to be fenced (election.ts).
 * @param ttl seconds; etcd grants 2 at least
 * @throws {StoreError} UNAVAILABLE, WRITE
 */
export async function openLease(client: EtcdClient, { ttl }: { readonly ttl: number }): Promise<Lease> {
  let asked = performance.now();
  const granted = await answered((options) => {
    asked = performance.now();
    return client.lease.leaseGrant({ TTL: BigInt(ttl) }, options);
  });
  const kept = new KeptLease(client, { id: granted.ID, ttl: Number(granted.TTL), asked });
  return {
    id: kept.id,
    ttl: kept.ttl,
    lost: kept.end.signal,
    revoke: async () => {
      kept.lose("it was given back");
      await client.lease.leaseRevoke({ ID: kept.id }, { deadline: 2000 }).catch(() => undefined); // else it runs out
    },
  };
}

class KeptLease {
  readonly id: bigint;
  readonly ttl: number;
  readonly end = new AbortController();
  readonly #client: EtcdClient;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: EtcdClient, { id, ttl, asked }: { id: bigint; ttl: number; asked: number }) {
    this.#client = client;
    this.id = id;
    this.ttl = ttl;
    this.#renewed(asked);
    void this.#keep();
  }

  lose(reason: string): void {
    clearTimeout(this.#timer);
    this.end.abort(new Error(`the lease is lost: ${reason}`));
  }

  /** @param sent when that was asked for, on the process's clock */
  #renewed(sent: number): void {
    clearTimeout(this.#timer);
    const left = sent + this.ttl * 1000 - performance.now();
    this.#timer = setTimeout(() => this.lose(`it was not renewed for ${this.ttl} s`), left);
  }

  async #keep(): Promise<void> {
    const { signal } = this.end;
    while (!signal.aborted) {
      await this.#renewals().catch(() => undefined); // the connection broke
      await sleep(100, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Renews over one stream, as long as each is answered before the next is due. */
  async #renewals(): Promise<void> {
    const { signal } = this.end;
    const stream = this.#client.lease.leaseKeepAlive();
    const answers = stream[Symbol.asyncIterator]();
    const cancel = () => stream.cancel();
    signal.addEventListener("abort", cancel);
    const pause = (this.ttl * 1000) / 3;
    try {
      while (!signal.aborted) {
        const sent = performance.now();
        const late = setTimeout(cancel, pause);
        stream.write({ ID: this.id });
        const { done, value } = await answers.next();
        clearTimeout(late);
        if (done) return;
        if (value.TTL <= 0n) return this.lose("etcd ended it");
        this.#renewed(sent);
        await sleep(Math.max(0, sent + pause - performance.now()), undefined, { signal });
      }
    } finally {
      signal.removeEventListener("abort", cancel);
      stream.cancel();
    }
  }
}
