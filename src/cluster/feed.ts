import { isDeepStrictEqual } from "node:util";
import { forbidden } from "../lib/errors.ts";
import { Turns } from "../lib/turns.ts";
import type { NodeId } from "../model/cluster.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import { managersIn } from "./certificates.ts";
import type { Peer } from "../model/peer.ts";
import { Members } from "./members.ts";
import { Outbox } from "./outbox.ts";
import { goneOf, shownChange, shownEnd, shownOf, shownTo } from "./views.ts";
import { availabilityToWire, roleToWire } from "./wire.ts";

/** Passes the store's commits on to the nodes that need them. A commit costs what it changed, times who needs that. */
export class Feed {
  readonly #outboxes = new Map<NodeId, Outbox>();
  readonly #members = new Members();
  readonly #turns = new Turns();
  #rows: Snapshot;

  constructor(rows: Snapshot) {
    this.#rows = rows;
    for (const peer of rows.list("peers")) this.#members.add(peer);
  }

  /** @returns what the node gets from now on: a snapshot first. A former one of the node ends. */
  open(node: NodeId): Outbox {
    this.#outboxes.get(node)?.end();
    const outbox = new Outbox(this.#turns);
    this.#outboxes.set(node, outbox);
    outbox.notice({ case: "registered", value: { period: periodIn(this.#rows) } });
    outbox.notice({ case: "managers", value: { managers: managersIn(this.#rows) } });
    this.#tellStanding(node, outbox);
    outbox.rows(shownTo(node, this.#rows), this.#rows.revision);
    return outbox;
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
    const { came, left } = this.#countMembers(before, commit);
    for (const key of changed) {
      // The first commit of a watch has every row: those that are as they were are told to nobody.
      if (before.get(key.table, key.key) === snapshot.get(key.table, key.key)) continue;
      for (const { to, change } of shownChange(key, before, snapshot, (network) => this.#members.nodesOn(network)))
        for (const outbox of this.#of(to)) outbox.rows([change], snapshot.revision);
      if (key.table === "nodes") this.#tellNode(key.key, before);
    }
    for (const { nodeId, networkId } of came) {
      this.#outboxes.get(nodeId)?.rows(shownOf(networkId, snapshot), snapshot.revision);
      const end = [...shownEnd(nodeId, networkId, snapshot)];
      if (end.length > 0)
        for (const outbox of this.#of([...this.#members.nodesOn(networkId)])) outbox.rows(end, snapshot.revision);
    }
    for (const { nodeId, networkId } of left)
      this.#outboxes.get(nodeId)?.rows([{ table: "networks", key: networkId }], snapshot.revision);
    const period = periodIn(snapshot);
    if (period !== periodIn(before))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "registered", value: { period } });
    const managers = managersIn(snapshot);
    if (!isDeepStrictEqual(managers, managersIn(before)))
      for (const outbox of this.#outboxes.values()) outbox.notice({ case: "managers", value: { managers } });
  }

  /** @returns whose first endpoint on a network is there, and whose last one is gone */
  #countMembers(before: Snapshot, { snapshot, changed }: Commit): { readonly came: Peer[]; readonly left: Peer[] } {
    const changes = changed.flatMap(({ table, key }) => {
      const [old, row] = [before.get("peers", key), snapshot.get("peers", key)];
      return table !== "peers" || (old !== undefined) === (row !== undefined) ? [] : [{ old, row }];
    });
    const came = changes.flatMap(({ row }) => (row !== undefined && this.#members.add(row) ? row : []));
    const left = changes.flatMap(({ old }) => (old !== undefined && this.#members.remove(old) ? old : []));
    const isIngress = ({ networkId }: Peer) => snapshot.get("networks", networkId)?.spec.ingress === true;
    return { came: came.filter((peer) => !isIngress(peer)), left: left.filter((peer) => !isIngress(peer)) };
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
