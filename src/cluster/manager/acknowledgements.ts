import { setImmediate as turn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { ClusterNode, NodeId } from "../../model/cluster.ts";
import type { TaskId } from "../../model/service.ts";
import type { Commit, Store, Transaction } from "../../store/store.ts";
import { isDraining } from "../orchestration/draining.ts";

export interface AcknowledgementsParts {
  readonly store: Store;
  readonly self: NodeId;
  /** Up to which revision a node has taken all that it was asked to acknowledge; undefined: it has no stream here. */
  readonly takenBy: (node: NodeId) => number | undefined;
  readonly failed: (error: unknown) => void;
}

/**
 * Says for a manager which of the tasks that are being drained get no new connections any more: every node whose stream it
 * has, or had last, has taken that they are no backends.
 */
export class Acknowledgements {
  readonly #parts: AcknowledgementsParts;
  /** Tasks that are being drained, and the revision by which they were no backends any more. */
  readonly #draining = new Map<TaskId, number>();
  /** Nodes at work that this manager holds, by their rows. */
  readonly #held = new Set<NodeId>();
  /** Nodes that are about to have a stream here: what they have taken is not known yet. */
  #expected = 0;
  #isWriting = false;
  #isStale = false;

  constructor(parts: AcknowledgementsParts) {
    this.#parts = parts;
  }

  /** True while what nodes take is to be acknowledged. */
  get isNeeded(): boolean {
    return this.#draining.size > 0;
  }

  /** Takes note of a commit after it was passed on to the nodes. */
  note({ snapshot, changed }: Commit): void {
    const before = this.#draining.size;
    for (const { table, key } of changed) {
      if (table === "nodes") this.#hold(key, snapshot.get(table, key)?.status);
      if (table !== "tasks") continue;
      const task = snapshot.get(table, key);
      if (task === undefined || !isDraining(task)) this.#draining.delete(key);
      else if (!this.#draining.has(key)) this.#draining.set(key, snapshot.revision);
    }
    if (before > 0 || this.isNeeded || snapshot.get("acknowledgements", this.#parts.self) !== undefined) this.look();
  }

  #hold(node: NodeId, status: ClusterNode["status"] | undefined): void {
    if (status?.state === "ready" && status.holder === this.#parts.self) this.#held.add(node);
    else this.#held.delete(node);
  }

  /**
   * A node comes, maybe from another manager, which from then on does not answer for it any more: `retract` belongs into the
   * transaction that says so. @returns what to call when its stream is there, or is not to come
   */
  expect(): () => void {
    this.#expected += 1;
    return () => {
      this.#expected -= 1;
      this.look();
    };
  }
  retract(tx: Transaction): void {
    tx.delete("acknowledgements", this.#parts.self);
  }

  /** Writes what is acknowledged, if that is something else than before: once for all that comes at a time. */
  look(): void {
    this.#isStale = true;
    if (!this.#isWriting) void this.#write();
  }

  async #write(): Promise<void> {
    const { store, self, failed } = this.#parts;
    this.#isWriting = true;
    try {
      while (this.#isStale) {
        await turn();
        this.#isStale = false;
        const known = store.snapshot().get("acknowledgements", self)?.tasks ?? [];
        if (!isDeepStrictEqual(known, this.#taken())) await store.update((tx) => this.#put(tx));
      }
    } catch (error) {
      failed(error); // the next change is an occasion; and the leader does not wait for ever
    } finally {
      this.#isWriting = false;
    }
  }

  #put(tx: Transaction): void {
    const tasks = this.#taken();
    if (tasks.length > 0) tx.put("acknowledgements", { managerId: this.#parts.self, tasks });
    else tx.delete("acknowledgements", this.#parts.self);
  }

  #taken(): TaskId[] {
    if (this.#draining.size === 0 || this.#expected > 0) return [];
    const taken = Math.min(...[...this.#held].map((node) => this.#parts.takenBy(node) ?? -1), Infinity);
    return [...this.#draining].flatMap(([task, revision]) => (revision <= taken ? task : [])).toSorted();
  }
}
