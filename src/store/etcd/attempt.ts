import { type Change, keyOf, type Row, type Rows, RowsTransaction } from "../rows.ts";
import type { RowKey, Transaction } from "../store.ts";
import type { TableName, Tables } from "../tables.ts";

const pathOf = ({ table, key }: RowKey) => `${table}/${key}`;

/** A transaction that remembers what was looked at. */
class ReadingTransaction extends RowsTransaction {
  readonly keys: RowKey[] = [];
  readonly tables: TableName[] = [];

  override get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    this.keys.push({ table, key });
    return super.get(table, key);
  }
  override list<T extends TableName>(table: T): readonly Tables[T][] {
    this.tables.push(table);
    return super.list(table);
  }
  override where<T extends TableName>(table: T, index: string, value: string): readonly Tables[T][] {
    this.tables.push(table);
    return super.where(table, index, value);
  }
  override insert<T extends TableName>(table: T, row: Tables[T]): void {
    this.keys.push({ table, key: keyOf(table, row) });
    super.insert(table, row);
  }
  override put<T extends TableName>(table: T, row: Tables[T]): void {
    this.keys.push({ table, key: keyOf(table, row) });
    super.put(table, row);
  }
  override delete(table: TableName, key: string): void {
    this.keys.push({ table, key });
    super.delete(table, key);
  }
}

/** What a change returned or threw. */
export type Outcome = { readonly result: unknown } | { readonly error: Error };

/** Changes of several updates, one after the other, over one snapshot: what is committed together. */
export class Attempt {
  readonly before: Rows;
  readonly outcomes: Outcome[] = [];
  readonly #changes = new Map<string, Change>();
  readonly #keys = new Map<string, RowKey>();
  readonly #tables = new Set<TableName>();
  #latest: Rows;
  /** Of the changed rows in JSON, in UTF-16 code units. */
  size = 0;

  constructor(before: Rows) {
    this.before = before;
    this.#latest = before;
  }

  /** Every changed row, as it shall be. */
  get changes(): readonly Change[] {
    return [...this.#changes.values()];
  }
  /** Single rows that were looked at; what was looked at decides over whether a commit is right. */
  get keys(): readonly RowKey[] {
    return [...this.#keys.values()];
  }
  /** Tables that were looked at as a whole. */
  get tables(): ReadonlySet<TableName> {
    return this.#tables;
  }

  /** Of a change that throws nothing is kept. */
  run(change: (tx: Transaction) => unknown): void {
    const tx = new ReadingTransaction(this.#latest);
    try {
      this.outcomes.push({ result: change(tx) });
    } catch (error) {
      this.outcomes.push({ error: error as Error });
      return;
    }
    const changes = tx.changes();
    for (const change of changes) this.#changes.set(pathOf(change[0]), change);
    for (const key of tx.keys) this.#keys.set(pathOf(key), key);
    for (const table of tx.tables) this.#tables.add(table);
    if (changes.length > 0) this.#latest = this.#latest.with(changes, this.#latest.revision);
    for (const [, row] of changes) this.size += sizeOf(row);
  }
}

const sizeOf = (row: Row | undefined) => (row === undefined ? 0 : JSON.stringify(row).length);
