import { openBytes, sealBytes } from "../../lib/sealed-bytes.ts";
import { SharedValues } from "../../lib/shared-values.ts";
import { type Change, keyOf, type Row, tableNames } from "../rows.ts";
import { type RowKey, StoreError } from "../store.ts";
import type { TableName } from "../tables.ts";
import type { KeyValue } from "./gen/kv_pb.ts";

/** Keys from `key` on, before `rangeEnd`. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}
const text = new TextDecoder("utf-8", { fatal: true });
const hexadecimal = "0123456789abcdef";

/** All keys that begin with `prefix`, which must not end in U+10FFFF. */
export function rangeOf(prefix: string): KeyRange {
  const key = Buffer.from(prefix);
  const rangeEnd = Buffer.from(key);
  rangeEnd.writeUInt8((rangeEnd.at(-1) as number) + 1, rangeEnd.length - 1);
  return { key, rangeEnd };
}

/**
 * Where things are under one prefix: rows in JSON, sealed where there is a key, at `<table>/<key>`; `.touched/<table>`, written by every transaction that
 * changes a row of that table; `.commits/<writer>`, the last transaction of one store that was opened.
 */
export class Layout {
  readonly #prefix: string;
  readonly all: KeyRange;
  readonly everyTouched: KeyRange;
  readonly #commits: string;
  readonly #key: Buffer | undefined;
  readonly #shared = new SharedValues();

  /** @param key 32 bytes under which rows are sealed, each for its place; absent: they are in clear */
  constructor(prefix: string, key?: Buffer) {
    this.#key = key;
    this.#prefix = `${prefix}/`;
    this.all = rangeOf(this.#prefix);
    this.everyTouched = rangeOf(`${this.#prefix}.touched/`);
    this.#commits = `${this.#prefix}.commits/`;
  }

  /** All keys from this one on, in parts: most keys of rows begin with a hexadecimal digit. */
  partsFrom(key: Uint8Array): readonly KeyRange[] {
    const begins = tableNames.flatMap((table) => [...hexadecimal].map((digit) => `${this.#prefix}${table}/${digit}`));
    const later = begins.map((begin) => Buffer.from(begin)).filter((begin) => Buffer.compare(begin, key) > 0);
    const cuts = [key, ...later.toSorted((a, b) => Buffer.compare(a, b)), this.all.rangeEnd];
    return cuts.slice(1).map((rangeEnd, at) => ({ key: cuts[at] as Uint8Array, rangeEnd }));
  }

  row({ table, key }: RowKey): Uint8Array {
    return Buffer.from(`${this.#prefix}${table}/${key}`);
  }
  /** What is written at a row's key. */
  value({ table, key }: RowKey, row: Row): Buffer {
    const plain = Buffer.from(JSON.stringify(row));
    return this.#key === undefined ? plain : sealBytes(plain, this.#key, `${table}/${key}`);
  }
  touched(table: TableName): Uint8Array {
    return Buffer.from(`${this.#prefix}.touched/${table}`);
  }
  commits(writer: string): Uint8Array {
    return Buffer.from(this.#commits + writer);
  }
  isCommits(key: Uint8Array): boolean {
    return text.decode(key).startsWith(this.#commits);
  }

  /**
   * @returns undefined for a key that holds no row, or one of a table that only a newer version knows
   * @throws {StoreError} CORRUPT when somebody else wrote there
   */
  read({ key, value }: KeyValue, deleted = false): Change | undefined {
    const path = text.decode(key).slice(this.#prefix.length);
    const slash = path.indexOf("/");
    const rowKey = { table: path.slice(0, slash) as TableName, key: path.slice(slash + 1) };
    if (!tableNames.includes(rowKey.table)) return undefined;
    if (deleted) return [rowKey, undefined];
    try {
      const plain = this.#key === undefined ? value : openBytes(value, this.#key, path);
      const row = this.#shared.of(JSON.parse(text.decode(plain))) as Row;
      if (keyOf(rowKey.table, row) === rowKey.key) return [rowKey, row];
    } catch {} // said below
    throw new StoreError("CORRUPT", `the cluster's store has something else than a row at ${this.#prefix}${path}`);
  }
}
