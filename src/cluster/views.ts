import { type NodeId, publicPart } from "../model/cluster.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import type { TableName, Tables } from "../store/tables.ts";

type Audience = "all" | readonly NodeId[];

/** Which rows of a table nodes get, and what of them. What is not said here stays with the managers. */
interface View<Row> {
  /** The nodes that need the row; "all" for those of all. */
  audience(row: Row): Audience;
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
};
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
  const bytes = new TextEncoder().encode(JSON.stringify(viewOf(table)?.show(row)));
  written.set(row, bytes);
  return bytes;
}

/** All that a node needs, keyed as in the store. @param keyOf the key of a table's row */
export function* shownTo(
  node: NodeId,
  rows: Snapshot,
  keyOf: (table: TableName, row: Tables[TableName]) => string,
): Iterable<Shown> {
  for (const table of viewed)
    for (const row of viewOf(table)?.rowsOf(node, rows) ?? [])
      yield { table, key: keyOf(table, row), row: write(table, row) };
}

/** A changed row for those who need it, and its end for those who need it no more. */
export function shownChange(
  { table, key }: RowKey,
  before: Snapshot,
  after: Snapshot,
): readonly { readonly to: Audience; readonly change: Shown }[] {
  const view = viewOf(table);
  if (view === undefined) return [];
  const [old, row] = [before.get(table, key), after.get(table, key)];
  const had = old === undefined ? [] : view.audience(old);
  const now = row === undefined ? [] : view.audience(row);
  const gone: Audience = now === "all" ? [] : had === "all" ? "all" : had.filter((node) => !now.includes(node));
  const end = { to: gone, change: { table, key } };
  return row === undefined ? [end] : [end, { to: now, change: { table, key, row: write(table, row) } }];
}
