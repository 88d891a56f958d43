import assert from "node:assert/strict";
import { it } from "node:test";
import { clone } from "./guest-files.ts";
import { Lane } from "./lane.ts";

it("IPVS: Linux does what every kernel does", async () => {
  await using lane = await Lane.start({ hosts: 1, memory: 512 });
  // In a network namespace of its own.
  const test = `cd ${clone} && node --test --test-isolation=none test/vm/inside/ipvs-kernel.ts`;
  const run = lane.hosts[0]?.run(["unshare", "--net", "sh", "-c", test], { timeout: 300_000 });
  const { status, stdout } = (await run) ?? assert.fail("no host");
  assert.equal(status, 0, stdout);
  assert.match(stdout, /pass 8\b/);
});
