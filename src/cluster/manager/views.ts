import { isDeepStrictEqual } from "node:util";
import { toJsonBytes } from "../../lib/json-bytes.ts";
import { type NodeId, publicPart } from "../../model/cluster.ts";
import type { NetworkId } from "../../model/ids.ts";
import type { Network } from "../../model/network.ts";
import type { FileContent } from "../../model/service.ts";
import type { RowKey, Snapshot } from "../../store/store.ts";
import { keys, type TableName, type Tables } from "../../store/tables.ts";
import { wireguardEnd } from "../encryption.ts";
import { type Members, type Need, needsOf } from "../members.ts";
import { isPlaced } from "../orchestration/tasks.ts";

type Audience = "all" | readonly NodeId[];

/** Which rows of a table nodes get, and what of them. What is not said here stays with the managers. */
interface View<Row> {
  /** The nodes that need the row; "all" for those of all. */
  audience(row: Row, rows: Snapshot, members: Members): Audience;
  /** The rows that one node needs, found without looking at the others. */
  rowsOf(node: NodeId, rows: Snapshot): readonly Row[];
  /** What nodes see of the row. */
  show(row: Row): unknown;
  /** True for a change of the row that says nothing to nodes. */
  isSame?(old: Row, row: Row): boolean;
  /** Goes to one node: it is not kept as JSON for others. */
  readonly isOfOne?: true;
}

/** In the order in which rows go to a node: a task follows what it needs. */
const views: { readonly [T in TableName]?: View<Tables[T]> } = {
  clusters: { audience: () => "all", rowsOf: (_, rows) => rows.list("clusters"), show: publicPart },
  nodes: {
    audience: ({ id }) => [id],
    rowsOf: (node, rows) => [rows.get("nodes", node)].filter((row) => row !== undefined),
    show: (row) => row,
    isOfOne: true,
  },
  networks: {
    audience: (row, _, members) => audienceOf(row, members),
    rowsOf: networksOf,
    show: (row) => row,
  },
  pools: ofNetwork("pools"),
  peers: ofNetwork("peers"),
  virtualServices: ofNetwork("virtualServices"),
  backends: ofNetwork("backends"),
  secrets: ofTasks("secrets"),
  configs: ofTasks("configs"),
  tasks: {
    // One of a global service has its node from the beginning, and waits there until there is room.
    audience: (task) => (task.nodeId !== undefined && isPlaced(task) ? [task.nodeId] : []),
    rowsOf: (node, rows) => rows.where("tasks", "node", node).filter(isPlaced),
    show: (row) => row,
    // What the node has said itself it need not hear again.
    isOfOne: true,
    isSame: (old, row) => isPlaced(old) === isPlaced(row) && old.desired === row.desired,
  },
};
/** A network is known where containers are on it; the one of published ports everywhere. */
function audienceOf(network: Network | undefined, members: Members): Audience {
  if (network === undefined) return [];
  return network.spec.ingress ? "all" : [...members.nodesWith("networks", network.id)];
}
function networksOf(node: NodeId, rows: Snapshot): readonly Network[] {
  const ids = new Set(rows.where("peers", "node", node).map(({ networkId }) => networkId));
  return rows.list("networks").filter(({ id, spec }) => spec.ingress || ids.has(id));
}
/** Tables whose rows go with their network. */
const networkTables = ["pools", "peers", "virtualServices", "backends"] as const;
type NetworkTable = (typeof networkTables)[number];
function ofNetwork<T extends NetworkTable>(table: T): View<Tables[T]> {
  return {
    audience: ({ networkId }: { readonly networkId: NetworkId }, rows, members) =>
      audienceOf(rows.get("networks", networkId), members),
    rowsOf: (node, rows) => networksOf(node, rows).flatMap(({ id }) => rows.where(table, "network", id)),
    show: (row) => row,
  };
}
/** Secrets and configs are known where a task is that names them. */
function ofTasks(table: "secrets" | "configs"): View<FileContent> {
  return {
    audience: ({ id }, _, members) => [...members.nodesWith(table, id)],
    rowsOf: (node, rows) => filesOf(table, node, rows).flatMap((id) => rows.get(table, id) ?? []),
    show: (row) => row,
  };
}
function filesOf(table: "secrets" | "configs", node: NodeId, rows: Snapshot): string[] {
  const needs = rows.where("tasks", "node", node).flatMap((task) => needsOf("tasks", task));
  return [...new Set(needs.flatMap((need) => (need.table === table ? need.key : [])))];
}
const viewOf = (table: TableName) => views[table] as View<Tables[TableName]> | undefined;
const viewed = Object.keys(views) as TableName[];

/** A row on its way to nodes; without `row` it is gone, or not theirs any more. */
export interface Shown extends RowKey {
  readonly row?: Uint8Array<ArrayBuffer>;
}

/** A row for several nodes is written as JSON once. */
const written = new WeakMap<object, Uint8Array<ArrayBuffer>>();
function write(table: TableName, row: Tables[TableName]): Uint8Array<ArrayBuffer> {
  const known = written.get(row);
  if (known !== undefined) return known;
  const bytes = toJsonBytes(viewOf(table)?.show(row));
  if (viewOf(table)?.isOfOne !== true) written.set(row, bytes);
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

/** What a node gets when it begins to need something: its first container comes onto a network, its first task names a secret. */
export function* shownFor({ table, key }: Need, rows: Snapshot): Iterable<Shown> {
  const row = rows.get(table, key);
  if (row === undefined) return;
  yield shown(table, row);
  if (table !== "networks") return;
  for (const other of networkTables) for (const one of rows.where(other, "network", key)) yield shown(other, one);
  yield* endsOn(row as Network, rows);
}

/** The ends of WireGuard of the nodes on a network, if it is encrypted. They are parts of the nodes' rows. */
function* endsOn({ id, isEncrypted }: Network, rows: Snapshot): Iterable<Shown> {
  if (isEncrypted === undefined) return;
  const nodes = new Set(rows.where("peers", "network", id).map(({ nodeId }) => nodeId));
  for (const node of nodes) yield writtenEnd(node, rows);
}

function writtenEnd(node: NodeId, rows: Snapshot): Shown {
  const row = rows.get("nodes", node);
  const end = row && wireguardEnd(rows, row);
  return { table: "ends", key: node, ...(end !== undefined && { row: toJsonBytes(end) }) };
}

/** What some nodes are told. */
interface Told {
  readonly to: Audience;
  readonly change: Shown;
}

/** A node's end of WireGuard, for those on an encrypted network that its first container comes onto. */
export function shownEnd({ table, key, node }: Need, rows: Snapshot, members: Members): readonly Told[] {
  const network = table === "networks" ? rows.get(table, key) : undefined;
  return network?.isEncrypted ? [{ to: audienceOf(network, members), change: writtenEnd(node, rows) }] : [];
}

/** For whom shares an encrypted network with the node, when its end of WireGuard is another. */
function endChange(node: NodeId, before: Snapshot, after: Snapshot, members: Members): readonly Told[] {
  const [old, row] = [before.get("nodes", node), after.get("nodes", node)];
  if (isDeepStrictEqual(old?.wireguard, row?.wireguard)) return [];
  const ids = new Set(after.where("peers", "node", node).map(({ networkId }) => networkId));
  const encrypted = [...ids].flatMap((id) => after.get("networks", id) ?? []).filter(({ isEncrypted }) => isEncrypted);
  const audiences = encrypted.map((network) => audienceOf(network, members));
  const to = audiences.includes("all") ? "all" : [...new Set(audiences.flat())];
  return to.length === 0 ? [] : [{ to, change: writtenEnd(node, after) }];
}

/** A changed row for those who need it, and its end for those who need it no more. */
export function shownChange(
  { table, key }: RowKey,
  before: Snapshot,
  after: Snapshot,
  members: Members,
): readonly Told[] {
  const view = viewOf(table);
  if (view === undefined) return [];
  const [old, row] = [before.get(table, key), after.get(table, key)];
  if (old !== undefined && row !== undefined && view.isSame?.(old, row)) return [];
  const had = old === undefined ? [] : view.audience(old, before, members);
  const now = row === undefined ? [] : view.audience(row, after, members);
  const gone: Audience = now === "all" ? [] : had === "all" ? "all" : had.filter((node) => !now.includes(node));
  const end = { to: gone, change: { table, key } };
  return [
    end,
    ...(row === undefined ? [] : [{ to: now, change: { table, key, row: write(table, row) } }]),
    ...(table === "nodes" ? endChange(key, before, after, members) : []),
  ];
}
