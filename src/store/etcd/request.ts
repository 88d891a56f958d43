import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RowKey } from "../store.ts";
import type { TableName } from "../tables.ts";
import type { Attempt } from "./attempt.ts";
import {
  Compare_CompareResult as Is,
  Compare_CompareTarget as Of,
  type CompareSchema,
  type RequestOpSchema,
  type TxnRequestSchema,
  type TxnResponse,
} from "./gen/rpc_pb.ts";
import type { Layout } from "./layout.ts";

/** What every write depends on: that this key was created at this revision and is there since (an election, say). */
export interface Fence {
  readonly key: string;
  readonly createRevision: bigint;
}
/** The last transaction of a writer: its key, and the revision at which it was written last (0 for never). */
export interface Writer {
  readonly key: Uint8Array;
  readonly revision: bigint;
}
type Compare = MessageInitShape<typeof CompareSchema>;
type Operation = MessageInitShape<typeof RequestOpSchema>;

/** Above so many single rows, tables are compared as a whole: etcd refuses more than `--max-txn-ops` comparisons. */
const mostKeys = 40;

const modified = (key: Uint8Array, result: Is, revision: bigint): Compare => ({
  key,
  result,
  target: Of.MOD,
  targetUnion: { case: "modRevision", value: revision },
});
export const created = (key: Uint8Array, result: Is, revision: bigint): Compare => ({
  key,
  result,
  target: Of.CREATE,
  targetUnion: { case: "createRevision", value: revision },
});
const put = (key: Uint8Array, value: string | Buffer): Operation => ({
  request: { case: "requestPut", value: { key, value: typeof value === "string" ? Buffer.from(value) : value } },
});
const get = (key: Uint8Array, rangeEnd: Uint8Array = new Uint8Array()): Operation => ({
  request: { case: "requestRange", value: { key, rangeEnd } },
});

/**
 * One etcd transaction that commits the attempt if nothing that it looked at has changed since its snapshot, and if the
 * writer has committed nothing since: so a copy that was on its way for long does nothing. When it is refused, it reads why.
 * @param id tells this attempt from others of the writer
 */
export function requestOf(
  attempt: Attempt,
  { layout, writer, id, fence }: { layout: Layout; writer: Writer; id: string; fence: Fence | undefined },
): MessageInitShape<typeof TxnRequestSchema> {
  const { changes } = attempt;
  const touched = new Set(changes.map(([{ table }]) => table));
  const fenceKey = fence && Buffer.from(fence.key);
  return {
    compare: [
      modified(writer.key, Is.EQUAL, writer.revision),
      ...(fence && fenceKey ? [created(fenceKey, Is.EQUAL, fence.createRevision)] : []),
      ...unchanged(attempt, layout),
    ],
    success: [
      ...changes.map(([key, row]): Operation => {
        const at = layout.row(key);
        if (row === undefined) return { request: { case: "requestDeleteRange", value: { key: at } } };
        return put(at, layout.value(key, row));
      }),
      ...[...touched].map((table) => put(layout.touched(table), "")),
      put(writer.key, commitOf(id)),
    ],
    failure: [
      get(writer.key),
      get(layout.everyTouched.key, layout.everyTouched.rangeEnd),
      ...(fenceKey ? [get(fenceKey)] : []),
    ],
  };
}

/** A row is as it was when no later revision is its own, and when it is there as before. */
function unchanged(attempt: Attempt, layout: Layout): Compare[] {
  const later = BigInt(attempt.before.revision) + 1n;
  const table = (name: TableName) => modified(layout.touched(name), Is.LESS, later);
  const keys = attempt.keys.filter((key) => !attempt.tables.has(key.table));
  if (keys.length > mostKeys) return [...new Set([...attempt.tables, ...keys.map((key) => key.table)])].map(table);
  const row = (key: RowKey) => {
    const at = layout.row(key);
    if (attempt.before.get(key.table, key.key) === undefined) return [modified(at, Is.EQUAL, 0n)];
    return [modified(at, Is.LESS, later), created(at, Is.GREATER, 0n)];
  };
  return [...[...attempt.tables].map(table), ...keys.flatMap(row)];
}

const commitOf = (id: string) => JSON.stringify({ id, at: Date.now() });
/** @returns the id of the attempt, and when it was made in milliseconds since 1970 */
export const readCommit = (value: Uint8Array) =>
  JSON.parse(Buffer.from(value).toString()) as { readonly id: string; readonly at: number };

/** Why a transaction was refused. */
export interface Refusal {
  /** The writer's last transaction, if it ever committed one. */
  readonly last?: { readonly id: string; readonly revision: bigint };
  /** The last revision that changed a row. */
  readonly touched: number;
  readonly fenceHolds: boolean;
}

export function readRefusal({ responses }: TxnResponse, fence: Fence | undefined): Refusal {
  const [writers = [], touched = [], fences = []] = responses.map(({ response }) =>
    response.case === "responseRange" ? response.value.kvs : [],
  );
  const [writer] = writers;
  return {
    ...(writer && { last: { id: readCommit(writer.value).id, revision: writer.modRevision } }),
    touched: Math.max(0, ...touched.map((kv) => Number(kv.modRevision))),
    fenceHolds: fence === undefined || fences[0]?.createRevision === fence.createRevision,
  };
}
