import { isDeepStrictEqual } from "node:util";
import { toJsonBytes } from "../lib/json-bytes.ts";
import { type NodeId, publicPart } from "../model/cluster.ts";
import type { NetworkId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import { keys, type TableName, type Tables } from "../store/tables.ts";
import { wireguardEnd } from "./encryption.ts";

type Audience = "all" | readonly NodeId[];

/** Which nodes have endpoints on a network. */
export type NodesOn = (network: NetworkId) => Iterable<NodeId>;

/** Which rows of a table nodes get, and what of them. What is not said here stays with the managers. */
interface View<Row> {
  /** The nodes that need the row; "all" for those of all. */
  audience(row: Row, rows: Snapshot, nodesOn: NodesOn): Audience;
  /** The rows that one node needs, found without looking at the others. */
  rowsOf(node: NodeId, rows: Snapshot): readonly Row[];
  /** What nodes see of the row. */
  show(row: Row): unknown;
}

const views: { readonly [T in TableName]?: View<Tables[T]> } = {
  clusters: { audience: () => "all", rowsOf: (_, rows) => rows.list("clusters"), show: publicPart },
  nodes: {
    audience: ({ id }) => [id],
    rowsOf: (node, rows) => [rows.get("nodes", node)].filter((row) => row !== undefined),
    show: (row) => row,
  },
  networks: {
    audience: (row, _, nodesOn) => audienceOf(row, nodesOn),
    rowsOf: networksOf,
    show: (row) => row,
  },
  pools: {
    audience: ({ networkId }, rows, nodesOn) => audienceOf(rows.get("networks", networkId), nodesOn),
    rowsOf: (node, rows) => networksOf(node, rows).flatMap(({ id }) => rows.where("pools", "network", id)),
    show: (row) => row,
  },
  peers: {
    audience: ({ networkId }, rows, nodesOn) => audienceOf(rows.get("networks", networkId), nodesOn),
    rowsOf: (node, rows) => networksOf(node, rows).flatMap(({ id }) => rows.where("peers", "network", id)),
    show: (row) => row,
  },
};
/** A network is known where containers are on it; the one of published ports everywhere. */
function audienceOf(network: Network | undefined, nodesOn: NodesOn): Audience {
  if (network === undefined) return [];
  return network.spec.ingress ? "all" : [...nodesOn(network.id)];
}
function networksOf(node: NodeId, rows: Snapshot): readonly Network[] {
  const ids = new Set(rows.where("peers", "node", node).map(({ networkId }) => networkId));
  return rows.list("networks").filter(({ id, spec }) => spec.ingress || ids.has(id));
}
const viewOf = (table: TableName) => views[table] as View<Tables[TableName]> | undefined;
const viewed = Object.keys(views) as TableName[];

/** A row on its way to nodes; without `row` it is gone, or not theirs any more. */
export interface Shown extends RowKey {
  readonly row?: Uint8Array<ArrayBuffer>;
}

/** A row for all nodes is written as JSON once. */
const written = new WeakMap<object, Uint8Array<ArrayBuffer>>();
function write(table: TableName, row: Tables[TableName]): Uint8Array<ArrayBuffer> {
  const known = written.get(row);
  if (known !== undefined) return known;
  const bytes = toJsonBytes(viewOf(table)?.show(row));
  written.set(row, bytes);
  return bytes;
}

const keyOf = (table: TableName, row: Tables[TableName]) => (keys[table] as (row: Tables[TableName]) => string)(row);
const shown = (table: TableName, row: Tables[TableName]): Shown => ({
  table,
  key: keyOf(table, row),
  row: write(table, row),
});

/** The rows of which nodes have some that were there before and are not any more. */
export const goneOf = (before: Snapshot, after: Snapshot): RowKey[] =>
  viewed.flatMap((table) =>
    before.list(table).flatMap((row) => {
      const key = keyOf(table, row);
      return after.get(table, key) === undefined ? [{ table, key }] : [];
    }),
  );

/** All that a node needs, keyed as in the store. */
export function* shownTo(node: NodeId, rows: Snapshot): Iterable<Shown> {
  for (const table of viewed) for (const row of viewOf(table)?.rowsOf(node, rows) ?? []) yield shown(table, row);
  for (const network of networksOf(node, rows)) yield* endsOn(network, rows);
}

/** What a node gets when its first container comes onto a network. */
export function* shownOf(id: NetworkId, rows: Snapshot): Iterable<Shown> {
  const network = rows.get("networks", id);
  if (network === undefined) return;
  yield shown("networks", network);
  for (const pool of rows.where("pools", "network", id)) yield shown("pools", pool);
  for (const peer of rows.where("peers", "network", id)) yield shown("peers", peer);
  yield* endsOn(network, rows);
}

/** The ends of WireGuard of the nodes on a network, if it is encrypted. They are parts of the nodes' rows. */
function* endsOn({ id, isEncrypted }: Network, rows: Snapshot): Iterable<Shown> {
  if (isEncrypted === undefined) return;
  const nodes = new Set(rows.where("peers", "network", id).map(({ nodeId }) => nodeId));
  for (const node of nodes) yield* shownEnd(node, id, rows);
}

/** A node's end of WireGuard for those on a network with it. */
export function* shownEnd(node: NodeId, network: NetworkId, rows: Snapshot): Iterable<Shown> {
  if (rows.get("networks", network)?.isEncrypted) yield writtenEnd(node, rows);
}

function writtenEnd(node: NodeId, rows: Snapshot): Shown {
  const row = rows.get("nodes", node);
  const end = row && wireguardEnd(rows, row);
  return { table: "ends", key: node, ...(end !== undefined && { row: toJsonBytes(end) }) };
}

/** For whom shares an encrypted network with the node, when its end of WireGuard is another. */
function endChange(node: NodeId, before: Snapshot, after: Snapshot, nodesOn: NodesOn): readonly Told[] {
  const [old, row] = [before.get("nodes", node), after.get("nodes", node)];
  if (isDeepStrictEqual(old?.wireguard, row?.wireguard)) return [];
  const networks = new Set(after.where("peers", "node", node).map(({ networkId }) => networkId));
  const encrypted = [...networks].filter((id) => after.get("networks", id)?.isEncrypted);
  const to = [...new Set(encrypted.flatMap((id) => [...nodesOn(id)]))];
  return to.length === 0 ? [] : [{ to, change: writtenEnd(node, after) }];
}

/** What some nodes are told. */
interface Told {
  readonly to: Audience;
  readonly change: Shown;
}

/** A changed row for those who need it, and its end for those who need it no more. */
export function shownChange(
  { table, key }: RowKey,
  before: Snapshot,
  after: Snapshot,
  nodesOn: NodesOn,
): readonly Told[] {
  const view = viewOf(table);
  if (view === undefined) return [];
  const [old, row] = [before.get(table, key), after.get(table, key)];
  const had = old === undefined ? [] : view.audience(old, before, nodesOn);
  const now = row === undefined ? [] : view.audience(row, after, nodesOn);
  const gone: Audience = now === "all" ? [] : had === "all" ? "all" : had.filter((node) => !now.includes(node));
  const end = { to: gone, change: { table, key } };
  return [
    end,
    ...(row === undefined ? [] : [{ to: now, change: { table, key, row: write(table, row) } }]),
    ...(table === "nodes" ? endChange(key, before, after, nodesOn) : []),
  ];
}
