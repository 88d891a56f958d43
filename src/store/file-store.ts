import { closeSync, fsyncSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Backend, type Change, RowStore } from "./row-store.ts";
import { Rows, tableNames } from "./rows.ts";
import { type Store, StoreError } from "./store.ts";
import type { TableName, Tables } from "./tables.ts";

const applicationId = 0x746f6d62; // "tomb"
const schema = 1;
/** sqlite.org/fileformat.html section 1.3 */
const header = { magic: "SQLite format 3\0", userVersion: 60, applicationId: 68, size: 100 } as const;

/**
 * Opens the embedded database file, or makes it. Commits are durable against power loss: SQLite's write-ahead log with
 * `synchronous=FULL` flushes the disk at each (sqlite.org/wal.html).
 * @throws {StoreError} LOCKED when another daemon has it, NEWER, CORRUPT: the file stays as it is
 */
export async function openFileStore(path: string): Promise<Store> {
  checkHeader(path);
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    const rows = openDatabase(db, path);
    return new RowStore(new FileBackend(db), rows);
  } catch (error) {
    db.close();
    throw refusal(path, error as Error & { errcode?: number });
  }
}

/** Looks without SQLite, which would write to what it half understands. */
function checkHeader(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return;
  const bytes = Buffer.alloc(header.size);
  const fd = openSync(path, "r");
  try {
    readSync(fd, bytes, 0, header.size, 0);
  } finally {
    closeSync(fd);
  }
  if (
    bytes.toString("latin1", 0, header.magic.length) !== header.magic ||
    bytes.readUInt32BE(header.applicationId) !== applicationId
  )
    throw corrupt(path, "it is not a database of tombolod");
  const version = bytes.readUInt32BE(header.userVersion);
  if (version > schema)
    throw new StoreError(
      "NEWER",
      `${path} was written by a newer tombolod (format ${version}, this one knows ${schema}): start that version, or move the file away`,
    );
}

function openDatabase(db: DatabaseSync, path: string): Rows {
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  db.exec("BEGIN EXCLUSIVE");
  const made = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n === 0;
  const verdict = made ? "ok" : db.prepare("PRAGMA quick_check(1)").get()?.quick_check;
  if (verdict !== "ok") throw corrupt(path, String(verdict));
  if (made) {
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schema}`);
    db.exec("CREATE TABLE rows (tbl TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID");
    db.exec("CREATE TABLE state (revision INTEGER NOT NULL); INSERT INTO state VALUES (0)");
  }
  db.exec("COMMIT");
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  if (made) syncDirectory(path);
  return readRows(db);
}

function readRows(db: DatabaseSync): Rows {
  const revision = Number(db.prepare("SELECT revision FROM state").get()?.revision);
  const rows = db.prepare("SELECT tbl, value FROM rows").all() as { tbl: string; value: string }[];
  const known = rows.filter((r) => (tableNames as string[]).includes(r.tbl));
  return Rows.of(
    revision,
    known.map((r) => [r.tbl as TableName, JSON.parse(r.value) as Tables[TableName]] as const),
  );
}

class FileBackend implements Backend {
  readonly #db: DatabaseSync;
  readonly #put;
  readonly #delete;
  readonly #revision;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#put = db.prepare("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)");
    this.#delete = db.prepare("DELETE FROM rows WHERE tbl = ? AND key = ?");
    this.#revision = db.prepare("UPDATE state SET revision = ?");
  }

  write(changes: readonly Change[], revision: number): void {
    this.#db.exec("BEGIN");
    try {
      for (const [{ table, key }, row] of changes)
        if (row === undefined) this.#delete.run(table, key);
        else this.#put.run(table, key, JSON.stringify(row));
      this.#revision.run(revision);
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#db.close();
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(dirname(path), "r");
  fsyncSync(fd);
  closeSync(fd);
}

const corrupt = (path: string, reason: string, cause?: Error) =>
  new StoreError(
    "CORRUPT",
    `${path} cannot be read (${reason}); it was left as it is: put back a copy, or move it away to start anew`,
    cause === undefined ? undefined : { cause },
  );

function refusal(path: string, error: Error & { errcode?: number }): StoreError {
  if (error instanceof StoreError) return error;
  const busy = 5; // sqlite.org/rescode.html
  if (((error.errcode ?? 0) & 0xff) === busy)
    return new StoreError("LOCKED", `${path} is in use by another tombolod`, { cause: error });
  return corrupt(path, error.message, error);
}
