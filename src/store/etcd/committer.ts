import { setTimeout as sleep } from "node:timers/promises";
import { StoreError, type Transaction } from "../store.ts";
import { answered, jitter } from "./answers.ts";
import { Attempt, type Outcome } from "./attempt.ts";
import type { EtcdClient } from "./client.ts";
import type { Layout } from "./layout.ts";
import type { Replica } from "./replica.ts";
import { type Fence, readRefusal, requestOf, type Writer } from "./request.ts";

/** A transaction of so many rows or code units takes no further update in. etcd's own limits are 128 and 1.5 MiB. */
const enough = { rows: 60, size: 512 << 10 } as const;
/** One conflict means that somebody else has committed; so many in a row, that something is wrong. */
const mostConflicts = 50;

export interface Update {
  readonly change: (tx: Transaction) => unknown;
  readonly fence: Fence | undefined;
}
export interface Committed {
  /** Of the first updates, as many as went together. */
  readonly outcomes: readonly Outcome[];
  readonly revision: number;
}

interface Sent {
  /** By their ids: any of them may have been committed without our having been told. */
  readonly attempts: Map<string, Attempt>;
  /** How many updates go together. */
  count: number | undefined;
}

const failed = (count: number, error: Error): Committed => ({ outcomes: Array(count).fill({ error }), revision: 0 });

/** Commits updates of one writer: one transaction at a time. */
export class Committer {
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  readonly #replica: Replica;
  /** Compared and written by each transaction: of several that are on their way, one can commit. */
  #writer: Writer;
  #attempts = 0;

  /** @param name no other writer's, ever */
  constructor(name: string, parts: { client: EtcdClient; layout: Layout; replica: Replica }) {
    this.#client = parts.client;
    this.#layout = parts.layout;
    this.#replica = parts.replica;
    this.#writer = { key: parts.layout.commits(name), revision: 0n };
  }

  /** Commits the first updates, as many as one transaction takes. Resolves when they are in the snapshot, or failed. */
  async commit(updates: readonly Update[]): Promise<Committed> {
    const sent: Sent = { attempts: new Map(), count: undefined };
    for (let tries = 0; tries < mostConflicts; tries++) {
      const attempt = this.#attempt(updates, sent.count);
      sent.count = attempt.outcomes.length;
      try {
        const committed = await this.#send(attempt, sent, updates[0]?.fence);
        if (committed !== undefined) return committed;
        await sleep(jitter(Math.min(2 ** tries, 100)));
      } catch (error) {
        const refused = error instanceof StoreError && error.code === "WRITE";
        if (!refused || sent.count === 1) return failed(sent.count, error as Error);
        sent.count = 1; // one of them may be too large: none shall fail for another
      }
    }
    const reason = `others changed the same rows ${mostConflicts} times while they were to be changed`;
    return failed(sent.count ?? 0, new StoreError("WRITE", reason));
  }

  /** @returns undefined when others had changed what the attempt looked at; the snapshot has that now */
  async #send(attempt: Attempt, { attempts }: Sent, fence: Fence | undefined): Promise<Committed | undefined> {
    // When something was sent before, the writer's key is written all the same: a late copy of it finds that and does nothing.
    if (attempt.changes.length === 0 && attempts.size === 0)
      return { outcomes: attempt.outcomes, revision: attempt.before.revision };
    const id = `${++this.#attempts}`;
    attempts.set(id, attempt);
    const request = requestOf(attempt, { layout: this.#layout, writer: this.#writer, id, fence });
    // What is sent twice is committed once: the first copy changes the writer's key.
    const response = await answered((options) => this.#client.kv.txn(request, options));
    if (response.succeeded) return this.#committed(attempt, response.header?.revision ?? 0n);
    const { last, touched, fenceHolds } = readRefusal(response, fence);
    const earlier = last && last.revision > this.#writer.revision ? attempts.get(last.id) : undefined;
    if (last && earlier) return this.#committed(earlier, last.revision);
    this.#writer = { key: this.#writer.key, revision: last?.revision ?? 0n };
    if (!fenceHolds) throw new StoreError("FENCED", "the cluster has another leader: what this one decided is void");
    await this.#replica.reached(touched);
    return undefined;
  }

  #attempt(updates: readonly Update[], count = Infinity): Attempt {
    const attempt = new Attempt(this.#replica.rows);
    for (const { change, fence } of updates.slice(0, count)) {
      const started = attempt.outcomes.length > 0;
      if (started && fence !== updates[0]?.fence) break;
      if (count === Infinity && (attempt.changes.length >= enough.rows || attempt.size >= enough.size)) break;
      attempt.run(change);
    }
    return attempt;
  }

  async #committed(attempt: Attempt, revision: bigint): Promise<Committed> {
    this.#writer = { key: this.#writer.key, revision };
    await this.#replica.reached(Number(revision));
    return { outcomes: attempt.outcomes, revision: Number(revision) };
  }

  /** Takes the writer's key away: nobody asks for it any more. */
  async end(): Promise<void> {
    if (this.#writer.revision > 0n)
      await this.#client.kv.deleteRange({ key: this.#writer.key }, { deadline: 1000 }).catch(() => undefined);
  }
}
