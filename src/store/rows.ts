import { isDeepStrictEqual } from "node:util";
import { Map as ImmutableMap } from "immutable";
import { type RowKey, type Snapshot, StoreError, type Transaction } from "./store.ts";
import { indexes, keys, type TableName, type Tables } from "./tables.ts";

export type Row = Tables[TableName];
type RowsByKey = ImmutableMap<string, Row>;
/** Rows by the value of a field. */
type Index = ImmutableMap<string, RowsByKey>;
interface Table {
  readonly rows: RowsByKey;
  readonly indexes: Readonly<Record<string, Index>>;
}
type KeyOf = (row: Row) => string;

/** A row as it shall be; undefined when it shall be gone. */
export type Change = readonly [RowKey, Row | undefined];

export const tableNames = Object.keys(keys) as TableName[];
/** The key of a row of that table. */
export const keyOf = (table: TableName, row: Row) => (keys[table] as KeyOf)(row);
const indexesOf = (table: TableName) => Object.entries((indexes[table] ?? {}) as Readonly<Record<string, KeyOf>>);
/** Several times as quick as a row at a time. */
function tableOf(name: TableName, rows: readonly Row[]): Table {
  const byKey = (some: readonly Row[]): RowsByKey => ImmutableMap(some.map((row) => [keyOf(name, row), row] as const));
  const index = (valueOf: KeyOf): Index =>
    ImmutableMap([...Map.groupBy(rows, valueOf)].map(([value, some]) => [value, byKey(some)] as const));
  const made = indexesOf(name).map(([field, valueOf]) => [field, index(valueOf)] as const);
  return { rows: byKey(rows), indexes: Object.fromEntries(made) };
}

/** Sorted once for all snapshots that share the rows: what did not change since keeps its array. */
const sorted = new WeakMap<RowsByKey, readonly Row[]>();
function inOrder(rows: RowsByKey): readonly Row[] {
  const known = sorted.get(rows);
  if (known !== undefined) return known;
  const list = Object.freeze([...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row));
  sorted.set(rows, list);
  return list;
}
const none: RowsByKey = ImmutableMap();

/** All rows at one revision. A copy with changes shares what did not change. */
export class Rows implements Snapshot {
  readonly revision: number;
  readonly #tables: Readonly<Record<TableName, Table>>;

  private constructor(revision: number, tables: Readonly<Record<TableName, Table>>) {
    this.revision = revision;
    this.#tables = tables;
  }

  /** @param rows what the store holds, each with its table */
  static of(revision: number, rows: Iterable<readonly [TableName, Row]>): Rows {
    const byTable = Map.groupBy(rows, ([table]) => table);
    const tables = Object.fromEntries(
      tableNames.map(
        (name) =>
          [
            name,
            tableOf(
              name,
              (byTable.get(name) ?? []).map(([, row]) => row),
            ),
          ] as const,
      ),
    ) as Record<TableName, Table>;
    return new Rows(revision, tables);
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#tables[table].rows.get(key) as Tables[T] | undefined;
  }

  list<T extends TableName>(table: T): readonly Tables[T][] {
    return inOrder(this.#tables[table].rows) as readonly Tables[T][];
  }

  where<T extends TableName>(table: T, index: string, value: string): readonly Tables[T][] {
    const found = this.#tables[table].indexes[index];
    if (found === undefined) throw new Error(`table ${table} has no index ${index}`);
    return inOrder(found.get(value) ?? none) as readonly Tables[T][];
  }

  /** The rows after some changes; an undefined row is deleted. */
  with(changes: Iterable<Change>, revision: number): Rows {
    const tables = { ...this.#tables };
    for (const [{ table, key }, row] of changes)
      tables[table] = row === undefined ? withoutRow(tables[table], table, key) : withRow(tables[table], table, row);
    return new Rows(revision, tables);
  }
}

function withRow(table: Table, name: TableName, row: Row): Table {
  const key = keyOf(name, row);
  const without = withoutRow(table, name, key);
  const added = indexesOf(name).map(([index, valueOf]) => {
    const value = valueOf(row);
    const entries = without.indexes[index] ?? ImmutableMap();
    return [index, entries.set(value, (entries.get(value) ?? none).set(key, row))];
  });
  return { rows: without.rows.set(key, row), indexes: Object.fromEntries(added) as Table["indexes"] };
}

function withoutRow(table: Table, name: TableName, key: string): Table {
  const row = table.rows.get(key);
  if (row === undefined) return table;
  const left = indexesOf(name).map(([index, valueOf]) => {
    const value = valueOf(row);
    const entries = table.indexes[index] ?? ImmutableMap();
    const others = entries.get(value)?.remove(key);
    return [index, others === undefined || others.isEmpty() ? entries.remove(value) : entries.set(value, others)];
  });
  return { rows: table.rows.remove(key), indexes: Object.fromEntries(left) as Table["indexes"] };
}

/** All rows, each with its table. */
export const entriesOf = (rows: Snapshot): (readonly [TableName, Row])[] =>
  tableNames.flatMap((table) => rows.list(table).map((row: Row) => [table, row] as const));

/** What has to be done to `before` to have `after`. */
export function changesBetween(before: Rows, after: Rows): Change[] {
  return tableNames.flatMap((table) => {
    const put = after.list(table).filter((row) => !isDeepStrictEqual(before.get(table, keyOf(table, row)), row));
    const gone = before.list(table).filter((row) => after.get(table, keyOf(table, row)) === undefined);
    const keyed = (row: Row): RowKey => ({ table, key: keyOf(table, row) });
    return [...put.map((row) => [keyed(row), row] as const), ...gone.map((row) => [keyed(row), undefined] as const)];
  });
}

/** Collects the changes of one `update` over a snapshot. */
export class RowsTransaction implements Transaction {
  /** By `table/key`; an undefined row is deleted. */
  readonly #changes = new Map<string, Change>();
  readonly #before: Rows;
  #rows: Rows;

  constructor(rows: Rows) {
    this.#before = rows;
    this.#rows = rows;
  }

  get revision(): number {
    return this.#rows.revision;
  }
  /** Rows that are other ones than before; what was written as it was is none. */
  changes(): Change[] {
    const rows = this.#before;
    return [...this.#changes.values()].filter(([{ table, key }, row]) => !isDeepStrictEqual(rows.get(table, key), row));
  }
  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#rows.get(table, key);
  }
  list<T extends TableName>(table: T): readonly Tables[T][] {
    return this.#rows.list(table);
  }
  where<T extends TableName>(table: T, index: string, value: string): readonly Tables[T][] {
    return this.#rows.where(table, index, value);
  }
  insert<T extends TableName>(table: T, row: Tables[T]): void {
    const key = keyOf(table, row);
    if (this.#rows.get(table, key) !== undefined) throw new StoreError("EXISTS", `${table}/${key} is taken`);
    this.put(table, row);
  }
  put<T extends TableName>(table: T, row: Tables[T]): void {
    this.#change({ table, key: keyOf(table, row) }, row);
  }
  delete(table: TableName, key: string): void {
    if (this.#rows.get(table, key) !== undefined) this.#change({ table, key }, undefined);
  }
  #change(key: RowKey, row: Row | undefined): void {
    const change: Change = [key, row];
    this.#changes.set(`${key.table}/${key.key}`, change);
    this.#rows = this.#rows.with([change], this.#rows.revision);
  }
}
