import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, it } from "node:test";
import { claim, storeContract } from "../../test/contract/store.ts";
import { openFileStore } from "./file-store.ts";
import { createMemoryStore } from "./memory-store.ts";
import { StoreError } from "./store.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-store-"));
after(() => rmSync(directory, { recursive: true }));
let files = 0;
const newPath = () => join(directory, `${files++}.db`);

storeContract("memory", async () => createMemoryStore());
storeContract("file", () => openFileStore(newPath()));

it("a file has after reopening what it had", async () => {
  const path = newPath();
  const store = await openFileStore(path);
  await store.update((tx) => tx.insert("ports", claim(80)));
  await store.close();
  const again = await openFileStore(path);
  assert.deepEqual(again.snapshot().list("ports"), [claim(80)]);
  assert.equal(again.snapshot().revision, 1);
  await again.close();
});

/** A process that opens a store at `path` and runs `body` with it; it is killed after `lines` lines, or kills itself. */
async function child(
  path: string,
  body: string,
  lines = Infinity,
  env: Record<string, string> = {},
): Promise<string[]> {
  const program = `
    import { openFileStore } from ${JSON.stringify(new URL("./file-store.ts", import.meta.url).href)};
    const path = ${JSON.stringify(path)};
    const pair = (n) => (tx) => { for (const p of [n, n + 30000]) tx.insert("ports", { protocol: "tcp", hostIp: "0.0.0.0", hostPort: p, endpointId: "e" }); };
    ${body}`;
  const process_ = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  let told = "";
  process_.stdout.on("data", (chunk: Buffer) => {
    told += chunk.toString();
    if (told.split("\n").length > lines) process_.kill("SIGKILL");
  });
  await once(process_, "close");
  return told.trim().split("\n");
}
const endless = `const store = await openFileStore(path);
  for (let n = 1; ; n++) { await store.update(pair(n)); process.stdout.write(n + "\\n"); }`;

/** Both halves of every commit are there, as many as the revision says. @returns how many commits there are */
async function wholeCommits(path: string): Promise<number> {
  const store = await openFileStore(path);
  const rows = store.snapshot();
  const numbers = rows
    .list("ports")
    .map((p) => p.hostPort)
    .toSorted((a, b) => a - b);
  const low = numbers.filter((n) => n < 30_000);
  assert.deepEqual(
    numbers.filter((n) => n > 30_000),
    low.map((n) => n + 30_000),
  );
  assert.equal(rows.revision, low.length);
  await store.close();
  return low.length;
}

it("kill -9 loses nothing that was committed, and leaves nothing half done", async () => {
  const path = newPath();
  const last = Number((await child(path, endless, 20)).at(-1));
  assert.ok(last >= 20 && (await wholeCommits(path)) >= last);
});

for (const [place, kept] of [
  ["before", 2],
  ["after", 3],
] as const)
  it(`a death ${place} the third write keeps ${kept} commits`, async () => {
    const path = newPath();
    const told = await child(path, endless, Infinity, { TOMBOLO_FAILPOINT: `store.commit.${place}#3=kill` });
    assert.deepEqual(told, ["1", "2"]);
    assert.equal(await wholeCommits(path), kept);
  });

it("a write that fails rejects every update of the moment, and the next ones go on", async () => {
  const path = newPath();
  const body = `const store = await openFileStore(path);
    const results = await Promise.allSettled([store.update(pair(1)), store.update(pair(2))]);
    process.stdout.write(results.map((r) => r.reason?.code) + " " + store.snapshot().revision + "\\n");
    await store.update(pair(3));
    await store.close();`;
  const told = await child(path, body, Infinity, { TOMBOLO_FAILPOINT: "store.commit.before=throw" });
  assert.deepEqual(told, ["WRITE,WRITE 0"]);
  assert.equal(await wholeCommits(path), 1);
});

it("updates of one moment are one write", async () => {
  const path = newPath();
  const store = await openFileStore(path);
  let commits = 0;
  const end = new AbortController();
  const watching = (async () => {
    for await (const { changed } of store.watch(end.signal)) {
      commits += 1;
      if (changed.length === 100) end.abort();
    }
  })();
  await Promise.all(Array.from({ length: 100 }, (_, n) => store.update((tx) => tx.insert("ports", claim(n + 1)))));
  await watching;
  assert.deepEqual([commits, store.snapshot().revision], [2, 100]);
  await store.close();
});

const bytesOf = (path: string) =>
  [path, `${path}-wal`].map((file) => (existsSync(file) ? readFileSync(file).toString("base64") : ""));

async function refusedUntouched(path: string, code: string, text: RegExp): Promise<void> {
  const before = bytesOf(path);
  await assert.rejects(openFileStore(path), (error: Error & { code?: string }) => {
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  });
  assert.deepEqual(bytesOf(path), before);
}

async function fileWithRows(): Promise<string> {
  const path = newPath();
  const store = await openFileStore(path);
  await store.update((tx) => {
    for (let port = 1; port < 2000; port++) tx.insert("ports", claim(port));
  });
  await store.close();
  return path;
}

it("a newer file is refused and left as it is", async () => {
  const path = await fileWithRows();
  const db = new DatabaseSync(path);
  db.exec("PRAGMA user_version = 99");
  db.close();
  await refusedUntouched(path, "NEWER", /newer tombolod/);
});

it("a file of something else is refused and left as it is", async () => {
  const path = newPath();
  writeFileSync(path, "not a database, whatever it is ".repeat(100));
  await refusedUntouched(path, "CORRUPT", /file is not a database/);
});

it("a damaged file is refused and left as it is", async () => {
  const path = await fileWithRows();
  const bytes = readFileSync(path);
  bytes.fill(0xff, 4096 * 3, 4096 * 6);
  writeFileSync(path, bytes);
  await refusedUntouched(path, "CORRUPT", /left as it is/);
});

it("a file with one flipped bit is refused or has what it had", async () => {
  const path = await fileWithRows();
  const good = readFileSync(path);
  const store = await openFileStore(path);
  const rows = store.snapshot().list("ports");
  await store.close();
  for (let at = 40; at < good.length; at += Math.ceil(good.length / 60)) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    writeFileSync(path, bytes);
    try {
      const opened = await openFileStore(path);
      assert.deepEqual(opened.snapshot().list("ports"), rows, `byte ${at}`);
      await opened.close();
    } catch (error) {
      assert.ok(error instanceof StoreError && ["CORRUPT", "NEWER"].includes(error.code), `byte ${at}: ${error}`);
      assert.deepEqual(readFileSync(path), bytes);
    }
  }
});

it("a refused file keeps its log too", async () => {
  const path = newPath();
  const newer = `import { DatabaseSync } from "node:sqlite";
    await (await openFileStore(path)).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    process.stdout.write("written\\n");
    setInterval(() => {}, 1000);`;
  await child(path, newer, 1);
  assert.ok(existsSync(`${path}-wal`));
  await refusedUntouched(path, "NEWER", /newer tombolod/);
});

it("an empty file is refused: what was in it is lost, and starting anew must be somebody's decision", async () => {
  const path = newPath();
  writeFileSync(path, "");
  await refusedUntouched(path, "CORRUPT", /it is empty/);
});

it("a directory that is not there is no corrupt file", async () => {
  await assert.rejects(openFileStore(join(directory, "none", "x.db")), { code: "WRITE" });
});

it("a file that another has open is refused", async () => {
  const path = newPath();
  const store = await openFileStore(path);
  await assert.rejects(openFileStore(path), (error: Error & { code?: string }) => {
    assert.equal(error.code, "LOCKED");
    assert.match(
      error.message,
      new RegExp(`^${path} is in use by another tombolod \\(process ${process.pid}\\): stop it`),
    );
    return true;
  });
  await store.close();
});
