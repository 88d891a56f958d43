import { isDeepStrictEqual } from "node:util";
import { Ordered } from "./ordered.ts";
import { type RowKey, type Snapshot, StoreError, type Transaction } from "./store.ts";
import { indexes, keys, type TableName, type Tables } from "./tables.ts";

export type Row = Tables[TableName];
type TextOf = (row: Row) => string;

/** A row as it shall be; undefined when it shall be gone. */
export type Change = readonly [RowKey, Row | undefined];

export const tableNames = Object.keys(keys) as TableName[];
/** The key of a row of that table. */
export const keyOf = (table: TableName, row: Row) => (keys[table] as TextOf)(row);

const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** The rows of a table in the order of their keys, and, for each indexed field, in the order of its values. */
class Table {
  readonly #name: TableName;
  readonly rows: Ordered<Row>;
  readonly #indexes: ReadonlyMap<string, Ordered<Row>>;

  private constructor(name: TableName, rows: Ordered<Row>, indexesByField: ReadonlyMap<string, Ordered<Row>>) {
    this.#name = name;
    this.rows = rows;
    this.#indexes = indexesByField;
  }

  static of(name: TableName, rows: readonly Row[]): Table {
    const byKey = (a: Row, b: Row) => order(keyOf(name, a), keyOf(name, b));
    const byValue = (valueOf: TextOf) => (a: Row, b: Row) => order(valueOf(a), valueOf(b)) || byKey(a, b);
    const made = fieldsOf(name).map(([field, valueOf]) => [field, Ordered.of(rows, byValue(valueOf))] as const);
    return new Table(name, Ordered.of(rows, byKey), new Map(made));
  }

  get(key: string): Row | undefined {
    return this.rows.find((row) => order(keyOf(this.#name, row), key));
  }

  /** The rows of which an indexed field has this value, in the order of keys. */
  where(field: string, value: string): readonly Row[] {
    const rows = this.#indexes.get(field);
    const valueOf = indexesOf(this.#name)[field];
    if (rows === undefined || valueOf === undefined) throw new Error(`table ${this.#name} has no index ${field}`);
    return rows.range((row) => order(valueOf(row), value));
  }

  with(row: Row): Table {
    return this.without(keyOf(this.#name, row)).#each((rows) => rows.with(row));
  }

  without(key: string): Table {
    const row = this.get(key);
    return row === undefined ? this : this.#each((rows) => rows.without(row));
  }

  #each(change: (rows: Ordered<Row>) => Ordered<Row>): Table {
    const changed = [...this.#indexes].map(([field, rows]) => [field, change(rows)] as const);
    return new Table(this.#name, change(this.rows), new Map(changed));
  }
}
const indexesOf = (table: TableName) => (indexes[table] ?? {}) as Readonly<Record<string, TextOf>>;
const fieldsOf = (table: TableName) => Object.entries(indexesOf(table));

/** All rows at one revision. A copy with changes shares what did not change. */
export class Rows implements Snapshot {
  readonly revision: number;
  readonly #tables: Readonly<Record<TableName, Table>>;
  #keys: readonly RowKey[] | undefined;

  private constructor(revision: number, tables: Readonly<Record<TableName, Table>>) {
    this.revision = revision;
    this.#tables = tables;
  }

  /** @param rows what the store holds, each with its table */
  static of(revision: number, rows: Iterable<readonly [TableName, Row]>): Rows {
    const byTable = new Map(tableNames.map((name) => [name, [] as Row[]]));
    for (const [table, row] of rows) byTable.get(table)?.push(row);
    const tables = [...byTable].map(([name, some]) => [name, Table.of(name, some)] as const);
    return new Rows(revision, Object.fromEntries(tables) as Record<TableName, Table>);
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#tables[table].get(key) as Tables[T] | undefined;
  }

  list<T extends TableName>(table: T): readonly Tables[T][] {
    return this.#tables[table].rows.list as readonly Tables[T][];
  }

  where<T extends TableName>(table: T, index: string, value: string): readonly Tables[T][] {
    return this.#tables[table].where(index, value) as readonly Tables[T][];
  }

  /** The key of every row; made once, when it is asked for. */
  get keys(): readonly RowKey[] {
    const keysOf = (table: TableName) =>
      Array.from(this.#tables[table].rows, (row) => ({ table, key: keyOf(table, row) }));
    this.#keys ??= tableNames.flatMap(keysOf);
    return this.#keys;
  }

  /** The rows after some changes; an undefined row is deleted. */
  with(changes: Iterable<Change>, revision: number): Rows {
    const tables = { ...this.#tables };
    for (const [{ table, key }, row] of changes)
      tables[table] = row === undefined ? tables[table].without(key) : tables[table].with(row);
    return new Rows(revision, tables);
  }
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
