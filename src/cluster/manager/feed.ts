import { isDeepStrictEqual } from "node:util";
import { Turns } from "../../lib/turns.ts";
import type { NodeId } from "../../model/cluster.ts";
import type { Commit, Snapshot } from "../../store/store.ts";
import { managersIn } from "../certificates.ts";
import { Members, type Need, needing, needsOf } from "../members.ts";
import type { Wanted } from "./log-broker.ts";
import { isDraining } from "../orchestration/draining.ts";
import { Outbox } from "./outbox.ts";
import { removedNode } from "../removal.ts";
import { goneOf, type Shown, shownChange, shownEnd, shownFor, shownTo } from "./views.ts";
import { availabilityToWire, roleToWire } from "../calls/wire.ts";

/** Passes the store's commits on to the nodes that need them. A commit costs what it changed, times who needs that. */
export class Feed {
  readonly #outboxes = new Map<NodeId, Outbox>();
  readonly #members = new Members();
  readonly #turns = new Turns();
  #rows: Snapshot;

  constructor(rows: Snapshot) {
    this.#rows = rows;
    for (const table of needing)
      for (const row of rows.list(table)) for (const need of needsOf(table, row)) this.#members.add(need);
  }

  /**
   * @param asks true: the node is to acknowledge the snapshot
   * @returns what the node gets from now on: a snapshot first. A former one of the node ends.
   */
  open(node: NodeId, asks = false): Outbox {
    this.#outboxes.get(node)?.end();
    const outbox = new Outbox(this.#turns);
    this.#outboxes.set(node, outbox);
    outbox.notice({ case: "registered", value: { period: periodIn(this.#rows) } });
    outbox.notice({ case: "managers", value: { managers: managersIn(this.#rows) } });
    this.#tellStanding(node, outbox);
    outbox.rows(shownTo(node, this.#rows), this.#rows.revision, asks);
    return outbox;
  }

  /** @returns false when the node has no stream here */
  wantLogs(node: NodeId, wanted: Wanted): boolean {
    const outbox = this.#outboxes.get(node);
    outbox?.wantLogs(wanted);
    return outbox !== undefined;
  }

  /** The revision up to which the node has taken what it is to acknowledge; undefined: it has no stream here. */
  takenBy(node: NodeId): number | undefined {
    return this.#outboxes.get(node)?.taken;
  }

  close(node: NodeId, outbox: Outbox): void {
    outbox.end();
    if (this.#outboxes.get(node) === outbox) this.#outboxes.delete(node);
  }

  /** The first commit of a watch has every row that is there; what went before it is added. */
  sinceThen({ snapshot, changed }: Commit): Commit {
    return { snapshot, changed: [...changed, ...goneOf(this.#rows, snapshot)] };
  }

  /** The commits of the store, in order. */
  pass(commit: Commit): void {
    const { snapshot, changed } = commit;
    const before = this.#rows;
    if (snapshot === before) return;
    this.#rows = snapshot;
    const { joined, came, left } = this.#countMembers(before, commit);
    // What a task needs goes out before the task.
    for (const need of came) this.#outboxes.get(need.node)?.rows(shownFor(need, snapshot), snapshot.revision);
    for (const key of changed) {
      // The first commit of a watch has every row: those that are as they were are told to nobody.
      if (before.get(key.table, key.key) === snapshot.get(key.table, key.key)) continue;
      for (const { to, change } of shownChange(key, before, snapshot, this.#members))
        for (const outbox of this.#of(to)) outbox.rows([change], snapshot.revision, isDrained(change, snapshot));
      if (key.table === "nodes") this.#tellNode(key.key, before);
    }
    for (const need of joined)
      for (const { to, change } of shownEnd(need, snapshot, this.#members))
        for (const outbox of this.#of(to)) outbox.rows([change], snapshot.revision);
    for (const { node, table, key } of left) this.#outboxes.get(node)?.rows([{ table, key }], snapshot.revision);
    const period = periodIn(snapshot);
    if (period !== periodIn(before))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "registered", value: { period } });
    const managers = managersIn(snapshot);
    if (!isDeepStrictEqual(managers, managersIn(before)))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "managers", value: { managers } });
  }

  /** @returns what nodes have come to have a part in, what of it they get, and what they need no more: some is for all nodes */
  #countMembers(before: Snapshot, { snapshot, changed }: Commit): Readonly<Record<"joined" | "came" | "left", Need[]>> {
    const changes = changed.filter(({ table, key }) => before.get(table, key) !== snapshot.get(table, key));
    const needsIn = (rows: Snapshot) => changes.flatMap(({ table, key }) => needsOf(table, rows.get(table, key)));
    const joined = needsIn(snapshot).filter((need) => this.#members.add(need));
    const left = needsIn(before).filter((need) => this.#members.remove(need));
    const isOfAll = ({ table, key }: Need) => table === "networks" && snapshot.get(table, key)?.spec.ingress === true;
    return { joined, came: joined.filter((need) => !isOfAll(need)), left: left.filter((need) => !isOfAll(need)) };
  }

  #tellNode(node: NodeId, before: Snapshot): void {
    const outbox = this.#outboxes.get(node);
    if (outbox === undefined) return;
    const [old, row] = [before.get("nodes", node), this.#rows.get("nodes", node)];
    if (row === undefined) outbox.end(removedNode(node));
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

/** The backend of a task that waits until the nodes know that it is none any more. */
function isDrained({ table, key, row }: Shown, rows: Snapshot): boolean {
  if (table !== "backends" || row !== undefined) return false;
  const task = rows.get("tasks", key.slice(0, key.indexOf("|")));
  return task !== undefined && isDraining(task);
}

/** @returns milliseconds between two beats; swarmkit's default while there is no cluster */
export const periodIn = (rows: Snapshot) => rows.list("clusters")[0]?.spec.heartbeatPeriod ?? 5000;
