import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, it } from "node:test";
import { claim, storeContract } from "../../test/contract/store.ts";
import { openFileStore } from "./file-store.ts";
import { createMemoryStore } from "./memory-store.ts";

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

it("kill -9 loses nothing that was committed, and leaves nothing half done", async () => {
  const path = newPath();
  const writer = `
    import { openFileStore } from ${JSON.stringify(new URL("./file-store.ts", import.meta.url).href)};
    const store = await openFileStore(${JSON.stringify(path)});
    for (let n = 1; ; n++) {
      await store.update((tx) => { for (const p of [n, n + 30000]) tx.insert("ports", { protocol: "tcp", hostIp: "0.0.0.0", hostPort: p, endpointId: "e" }); });
      process.stdout.write(n + "\\n");
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", writer], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let told = "";
  child.stdout.on("data", (chunk: Buffer) => {
    told += chunk.toString();
    if (told.split("\n").length > 20) child.kill("SIGKILL");
  });
  await once(child, "close");
  const last = Number(told.trim().split("\n").at(-1));
  const store = await openFileStore(path);
  const numbers = store
    .snapshot()
    .list("ports")
    .map((p) => p.hostPort);
  assert.ok(last >= 20 && numbers.includes(last));
  assert.equal(numbers.filter((n) => n < 30000).length, numbers.filter((n) => n > 30000).length);
  assert.equal(store.snapshot().revision, numbers.length / 2);
  await store.close();
});

async function refusedUntouched(path: string, code: string, text: RegExp): Promise<void> {
  const before = readFileSync(path);
  await assert.rejects(openFileStore(path), (error: Error & { code?: string }) => {
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  });
  assert.deepEqual(readFileSync(path), before);
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
  await refusedUntouched(path, "CORRUPT", /not a database of tombolod/);
});

it("a damaged file is refused and left as it is", async () => {
  const path = await fileWithRows();
  const bytes = readFileSync(path);
  bytes.fill(0xff, 4096 * 3, 4096 * 6);
  writeFileSync(path, bytes);
  await refusedUntouched(path, "CORRUPT", /left as it is/);
});

it("a file that another has open is refused", async () => {
  const path = newPath();
  const store = await openFileStore(path);
  await assert.rejects(openFileStore(path), { code: "LOCKED" });
  await store.close();
});
