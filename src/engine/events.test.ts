import assert from "node:assert/strict";
import { test } from "node:test";
import { EventBus } from "./events.ts";

test("a subscription ends at its time, also when the time has a fraction of a millisecond", async () => {
  const bus = new EventBus();
  bus.publish({ type: "daemon", action: "reload", id: "d", attributes: {} });
  const end = new AbortController();
  const late = setTimeout(() => end.abort(), 5000);
  const all = Array.from({ length: 50 }, async (_, i) => {
    const seen: string[] = [];
    const until = Date.now() + 5 + i * 1.37;
    const options = { since: 0, until, filters: new Map() };
    for await (const { action } of bus.subscribe(options, end.signal)) seen.push(action);
    assert.deepEqual(seen, ["reload"]);
  });
  await Promise.all(all);
  clearTimeout(late);
  assert.equal(end.signal.aborted, false);
});
