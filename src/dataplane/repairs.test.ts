import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { ReadKind } from "./believed.ts";
import { Echo, type Reading, RepairTimer } from "./repairs.ts";

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let reads: ReadKind[][] = [];
let warnings = 0;
let timer: RepairTimer | undefined;
afterEach(() => timer?.stop());

function open(differs: boolean): RepairTimer {
  reads = [];
  warnings = 0;
  const read = (reading: Reading) => {
    reads.push([...(reading.get("host") ?? [])]);
    return differs;
  };
  timer = new RepairTimer(read, () => (warnings += 1));
  return timer;
}

it("reads once for a burst", async () => {
  const repairs = open(false);
  for (let i = 0; i < 100; i++) repairs.note(["link", "chain"], true);
  await pause(100);
  assert.deepEqual(reads, [["link", "chain"]]);
});

it("reads later for echoes, but at once when something urgent comes", async () => {
  const repairs = open(false);
  repairs.note(["link"], false);
  await pause(100);
  assert.deepEqual(reads, []);
  repairs.note(["chain"], true);
  await pause(100);
  assert.deepEqual(reads, [["link", "chain"]]);
});

it("warns once and slows down when every reading finds something", async () => {
  const repairs = open(true);
  for (let i = 0; i < 40; i++) {
    repairs.note(["chain"], true);
    await pause(20);
  }
  assert.equal(warnings, 1);
  const before = reads.length;
  repairs.note(["chain"], true);
  await pause(200);
  assert.ok(reads.length <= before + 1);
});

it("rests after a long reading, longer from its own echoes than from what others change", async () => {
  let reads = 0;
  timer = new RepairTimer(
    () => {
      reads += 1;
      const end = performance.now() + 260;
      while (performance.now() < end);
      return false;
    },
    () => {},
  );
  timer.note(["link"], true);
  await pause(350);
  timer.note(["link"], false);
  await pause(1500);
  assert.equal(reads, 1);
  timer.note(["link"], true);
  await pause(400);
  assert.equal(reads, 2);
});

it("reads each namespace for its own events", async () => {
  const seen: Reading[] = [];
  timer = new RepairTimer(
    (reading) => seen.push(reading) < 0,
    () => {},
  );
  timer.note(["link"], true);
  timer.note(["tunnel"], true, "network:1");
  timer.note(["forwarding"], true, "network:1");
  await pause(100);
  const network = ["network:1", new Set(["tunnel", "forwarding"])] as const;
  assert.deepEqual(
    seen.map((reading) => [...reading]),
    [[["host", new Set(["link"])], network]],
  );
});

it("knows the echo of its own steps for a while", async () => {
  const echo = new Echo();
  const object = { kind: "address", namespace: "host", link: "br-1", address: "10.0.0.1/24" } as const;
  echo.note([{ verb: "create", object, owner: "network:1" }]);
  assert.ok(echo.has("br-1") && !echo.has("br-2") && !echo.has("br-1", "network:1"));
  await pause(250);
  assert.ok(!echo.has("br-1"));
});
