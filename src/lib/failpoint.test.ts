import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { createInterface } from "node:readline";

it("is armed by a file while the program runs, and counts passes from then on", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tombolo-failpoint-"));
  const file = join(directory, "armed");
  const script = `
    const { failpoint } = await import(${JSON.stringify(new URL("failpoint.ts", import.meta.url).href)});
    process.stdin.on("data", () => { failpoint("other"); failpoint("place"); console.log("passed"); });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, TOMBOLO_FAILPOINT: `@${file}` },
  });
  const ended = once(child, "exit");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const pass = async () => {
    child.stdin.write("go\n");
    return (await Promise.race([lines.next(), ended.then(() => undefined)]))?.value;
  };
  try {
    assert.equal(await pass(), "passed");
    writeFileSync(file, "place#2=kill");
    assert.equal(await pass(), "passed");
    assert.equal(await pass(), undefined);
    assert.deepEqual(await ended, [null, "SIGKILL"]);
  } finally {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true });
  }
});
