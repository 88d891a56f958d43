import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { ExecRunner } from "./exec-runner.ts";
import { makeFifos, namesIn } from "./stdio.ts";

it("who is about to open an exec's FIFOs is let go on, and those of execs that have ended go", async (test) => {
  const directory = await mkdtemp(join(tmpdir(), "tombolo-exec-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  const names = ["alive", "ended", "tty"];
  const [first] = names.map((name) => makeFifos(directory, name, { tty: name === "tty", stdin: name === "alive" }));
  assert.deepEqual(namesIn(directory).toSorted(), names);
  assert.deepEqual(namesIn(join(directory, "none")), []);
  // As containerd's shim does it: it waits for the other end, and says more than a FIFO holds.
  const line = `head -c 200000 /dev/zero >"$0"; echo more >"$1"`;
  const shim = spawn("sh", ["-c", line, first?.stdout ?? "", first?.stderr ?? ""], { stdio: "ignore" });
  const over = once(shim, "exit");
  const runner = new ExecRunner(undefined as never, directory);
  runner.takeUp(names);
  assert.deepEqual(await over, [0, null]);
  runner.keepOnly(new Set(["alive"]));
  assert.deepEqual(namesIn(directory), ["alive"]);
  runner.keepOnly(new Set());
  assert.deepEqual(namesIn(directory), []);
});
