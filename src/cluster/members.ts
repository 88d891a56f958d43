import type { NodeId } from "../model/cluster.ts";
import { hasEnded } from "../model/service.ts";
import type { TableName, Tables } from "../store/tables.ts";
import { isPlaced } from "./orchestration/tasks.ts";

/** A row that a node is to have because of what is on the node. */
export interface Need {
  readonly table: "networks" | "secrets" | "configs";
  readonly key: string;
  readonly node: NodeId;
}

const none: readonly Need[] = [];
/** What a row makes a node need: an endpoint its network, a task that the node has, and that has not ended, its secrets and configs. */
const needs: { readonly [T in TableName]?: (row: Tables[T]) => readonly Need[] } = {
  peers: ({ networkId, nodeId }) => [{ table: "networks", key: networkId, node: nodeId }],
  tasks(task) {
    const { nodeId: node, status, template } = task;
    // One of a global service has its node from the beginning, and may never come to it.
    if (node === undefined || !isPlaced(task) || hasEnded(status.state)) return none;
    return (["secrets", "configs"] as const).flatMap((table) =>
      template[table].map(({ id: key }) => ({ table, key, node })),
    );
  },
};
/** What a row makes nodes need; nothing when it is gone. */
export const needsOf = (table: TableName, row: Tables[TableName] | undefined): readonly Need[] =>
  row === undefined
    ? none
    : ((needs[table] as ((row: Tables[TableName]) => readonly Need[]) | undefined)?.(row) ?? none);
/** The tables whose rows make nodes need others. */
export const needing = Object.keys(needs) as TableName[];

/** How many rows make each node need another one: who has an endpoint on a network is told of the others there. */
export class Members {
  readonly #counts = new Map<string, Map<NodeId, number>>();

  /** @returns true when it is the node's first */
  add({ table, key, node }: Need): boolean {
    const thing = `${table}/${key}`;
    const counts = this.#counts.get(thing) ?? new Map<NodeId, number>();
    this.#counts.set(thing, counts);
    const count = counts.get(node) ?? 0;
    counts.set(node, count + 1);
    return count === 0;
  }

  /** @returns true when it was the node's last */
  remove({ table, key, node }: Need): boolean {
    const thing = `${table}/${key}`;
    const counts = this.#counts.get(thing);
    const count = counts?.get(node) ?? 0;
    if (count > 1) counts?.set(node, count - 1);
    else counts?.delete(node);
    if (counts?.size === 0) this.#counts.delete(thing);
    return count === 1;
  }

  nodesWith(table: Need["table"], key: string): Iterable<NodeId> {
    return this.#counts.get(`${table}/${key}`)?.keys() ?? [];
  }
}
