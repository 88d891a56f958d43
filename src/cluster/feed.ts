import { isDeepStrictEqual } from "node:util";
import { forbidden } from "../lib/errors.ts";
import { Turns } from "../lib/turns.ts";
import type { NodeId } from "../model/cluster.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import { keys, type TableName, type Tables } from "../store/tables.ts";
import { managersIn } from "./certificates.ts";
import { Outbox } from "./outbox.ts";
import { shownChange, shownTo } from "./views.ts";
import { availabilityToWire, roleToWire } from "./wire.ts";

const keyOf = (table: TableName, row: Tables[TableName]) => (keys[table] as (row: Tables[TableName]) => string)(row);

/** Passes the store's commits on to the nodes that need them. A commit costs what it changed, times who needs that. */
export class Feed {
  readonly #outboxes = new Map<NodeId, Outbox>();
  readonly #turns = new Turns();
  #rows: Snapshot;

  constructor(rows: Snapshot) {
    this.#rows = rows;
  }

  /** @returns what the node gets from now on: a snapshot first. A former one of the node ends. */
  open(node: NodeId): Outbox {
    this.#outboxes.get(node)?.end();
    const outbox = new Outbox(this.#turns);
    this.#outboxes.set(node, outbox);
    outbox.notice({ case: "registered", value: { period: periodIn(this.#rows) } });
    outbox.notice({ case: "managers", value: { managers: managersIn(this.#rows) } });
    this.#tellStanding(node, outbox);
    outbox.rows(shownTo(node, this.#rows, keyOf), this.#rows.revision);
    return outbox;
  }

  close(node: NodeId, outbox: Outbox): void {
    outbox.end();
    if (this.#outboxes.get(node) === outbox) this.#outboxes.delete(node);
  }

  /** The commits of the store, in order. */
  pass({ snapshot, changed }: Commit): void {
    const before = this.#rows;
    if (snapshot === before) return;
    this.#rows = snapshot;
    for (const key of changed) {
      // The first commit of a watch has every row: those that are as they were are told to nobody.
      if (before.get(key.table, key.key) === snapshot.get(key.table, key.key)) continue;
      for (const { to, change } of shownChange(key, before, snapshot))
        for (const outbox of this.#of(to)) outbox.rows([change], snapshot.revision);
      if (key.table === "nodes") this.#tellNode(key.key, before);
    }
    const period = periodIn(snapshot);
    if (period !== periodIn(before))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "registered", value: { period } });
    const managers = managersIn(snapshot);
    if (!isDeepStrictEqual(managers, managersIn(before)))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "managers", value: { managers } });
  }

  #tellNode(node: NodeId, before: Snapshot): void {
    const outbox = this.#outboxes.get(node);
    if (outbox === undefined) return;
    const [old, row] = [before.get("nodes", node), this.#rows.get("nodes", node)];
    if (row === undefined) outbox.end(forbidden(`node ${node} was removed from the swarm`));
    else if (old?.role !== row.role || old.availability !== row.availability) this.#tellStanding(node, outbox);
  }

  #tellStanding(node: NodeId, outbox: Outbox): void {
    const row = this.#rows.get("nodes", node);
    if (row === undefined) return;
    const value = { role: roleToWire[row.role], availability: availabilityToWire[row.availability] };
    outbox.notice({ case: "standing", value });
  }

  #of(to: "all" | readonly NodeId[]): Iterable<Outbox> {
    if (to === "all") return this.#outboxes.values();
    return to.flatMap((node) => this.#outboxes.get(node) ?? []);
  }
}

/** @returns milliseconds between two beats; swarmkit's default while there is no cluster */
export const periodIn = (rows: Snapshot) => rows.list("clusters")[0]?.spec.heartbeatPeriod ?? 5000;
