import { closeSync, existsSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { SharedValues } from "../lib/shared-values.ts";
import { type Backend, RowStore } from "./row-store.ts";
import { type Change, Rows, tableNames } from "./rows.ts";
import { type Store, StoreError } from "./store.ts";
import type { TableName, Tables } from "./tables.ts";

const applicationId = 0x746f6d62; // "tomb"
const schema = 1;
/** KiB of SQLite's own cache, which would be 2,000: rows are read once, at the start. */
const cache = 256;
/** sqlite.org/rescode.html */
const resultCode = { permission: 3, busy: 5, readOnly: 8, io: 10, full: 13, cannotOpen: 14, auth: 23 } as const;

/**
 * Opens the embedded database file, or makes it. Commits are durable against power loss: SQLite's write-ahead log with
 * `synchronous=FULL` flushes the disk at each (sqlite.org/wal.html). The file is locked as long as it is open.
 * @throws {StoreError} LOCKED when another daemon has it, NEWER, CORRUPT: the file stays as it is; WRITE when the system
 * does not let us have it
 */
export async function openFileStore(path: string): Promise<Store> {
  try {
    if (!existsSync(path)) create(path);
    check(path);
    const db = new DatabaseSync(path, { timeout: 0 });
    try {
      db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA cache_size = -${cache};
        BEGIN EXCLUSIVE; COMMIT`);
      return new RowStore(new FileBackend(db), readRows(db, path));
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    throw refusal(path, error as Error & { readonly errcode?: number });
  }
}

/** The file appears whole or not at all, whenever the power goes. */
function create(path: string): void {
  const draft = `${path}.${process.pid}.new`;
  rmSync(draft, { force: true });
  const db = new DatabaseSync(draft);
  db.exec(`PRAGMA synchronous = FULL; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schema};
    CREATE TABLE rows (tbl TEXT, key TEXT, value TEXT NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID;
    CREATE TABLE state (revision INTEGER NOT NULL); INSERT INTO state VALUES (0); PRAGMA journal_mode = WAL`);
  db.close();
  linkSync(draft, path);
  rmSync(draft);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
}

/** Reads only: opened for writing, SQLite would put the log's pages into a file that we may not touch. */
function check(path: string): void {
  if (statSync(path).size === 0) throw corrupt(path, "it is empty");
  const db = new DatabaseSync(path, { readOnly: true, timeout: 0 });
  try {
    const pragma = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
    if (pragma("application_id") !== applicationId) throw corrupt(path, "it is not a database of tombolod");
    const version = Number(pragma("user_version"));
    if (version > schema)
      throw new StoreError(
        "NEWER",
        `${path} was written by a newer tombolod (format ${version}, this one knows ${schema}): start that version, or move the file away`,
      );
    const verdict = pragma("quick_check(1)");
    if (verdict !== "ok") throw corrupt(path, String(verdict));
    readRows(db, path);
  } finally {
    db.close();
  }
}

/** SQLite has no checksums of its own in the file: a flipped bit would be another address. */
const sumOf = (table: string, key: string, value: string) => crc32(`${table}\n${key}\n${value}`);

interface StoredRow {
  readonly tbl: string;
  readonly key: string;
  /** The row in JSON. */
  readonly value: string;
  readonly sum: number;
}

function readRows(db: DatabaseSync, path: string): Rows {
  const revision = Number(db.prepare("SELECT revision FROM state").get()?.revision);
  const found = db.prepare("SELECT tbl, key, value, sum FROM rows").all() as unknown as StoredRow[];
  for (const { tbl, key, value, sum } of found)
    if (sum !== sumOf(tbl, key, value) || !(tableNames as string[]).includes(tbl))
      throw corrupt(path, `the row ${tbl}/${key} is damaged`);
  const shared = new SharedValues();
  const parse = (text: string) => shared.of(JSON.parse(text)) as Tables[TableName];
  return Rows.of(
    revision,
    found.map((row) => [row.tbl as TableName, parse(row.value)] as const),
  );
}

class FileBackend implements Backend {
  readonly #db: DatabaseSync;
  readonly #put;
  readonly #delete;
  readonly #revision;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#put = db.prepare("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)");
    this.#delete = db.prepare("DELETE FROM rows WHERE tbl = ? AND key = ?");
    this.#revision = db.prepare("UPDATE state SET revision = ?");
  }

  write(changes: readonly Change[], revision: number): void {
    this.#db.exec("BEGIN");
    try {
      for (const [{ table, key }, row] of changes) this.#write(table, key, row);
      this.#revision.run(revision);
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #write(table: string, key: string, row: Change[1]): void {
    if (row === undefined) return void this.#delete.run(table, key);
    const value = JSON.stringify(row);
    this.#put.run(table, key, value, sumOf(table, key, value));
  }

  close(): void {
    this.#db.close();
  }
}

const corrupt = (path: string, reason: string, cause?: Error) =>
  new StoreError(
    "CORRUPT",
    `${path} cannot be read (${reason}); it was left as it is: put back a copy, or move it away to start anew`,
    cause && { cause },
  );

function refusal(path: string, error: Error & { readonly errcode?: number }): Error {
  if (error instanceof StoreError) return error;
  const code = error.errcode === undefined ? undefined : error.errcode & 0xff;
  if (code === resultCode.busy)
    return new StoreError(
      "LOCKED",
      `${path} is in use by another tombolod${holderOf(path)}: stop it, or start this one with another data root`,
      { cause: error },
    );
  if (code === undefined || (Object.values(resultCode) as number[]).includes(code))
    return new StoreError("WRITE", `${path} cannot be opened: ${error.message}`, { cause: error });
  return corrupt(path, error.message, error);
}

/** proc_locks(5): `1: POSIX  ADVISORY  WRITE 4711 fe:00:131 0 EOF`. */
function holderOf(path: string): string {
  const lock = new RegExp(`WRITE (\\d+) \\S+:${statSync(path).ino} `).exec(readFileSync("/proc/locks", "utf8"));
  return lock === null ? "" : ` (process ${lock[1]})`;
}
