import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { BoundedQueue } from "./bounded-queue.ts";

test("senders wait while there is no room, and the reader takes what is there at once", async () => {
  const queue = new BoundedQueue<string>(4);
  const sent: string[] = [];
  const send = async (...items: string[]) => {
    for (const item of items) {
      await queue.push(item, item.length);
      sent.push(item);
    }
  };
  const senders = [send("aa", "bbb", "c"), send("dddd", "e")];
  await turn();
  assert.deepEqual(sent, ["aa"]);
  const reader = queue.batches()[Symbol.asyncIterator]();
  assert.deepEqual(await reader.next(), { value: ["aa", "dddd", "bbb"], done: false });
  await Promise.all(senders);
  assert.deepEqual(((await reader.next()).value ?? []).toSorted(), ["c", "e"]);
  const next = reader.next();
  await queue.push("f", 1);
  assert.deepEqual(await next, { value: ["f"], done: false });
  void queue.push("last", 9);
  queue.end();
  await queue.push("late", 9);
  assert.deepEqual(await reader.next(), { value: ["last"], done: false });
  assert.equal((await reader.next()).done, true);
});

test("a reader that stops lets the senders go", async () => {
  const queue = new BoundedQueue<number>(1);
  const sending = (async () => {
    for (let n = 0; n < 100; n++) await queue.push(n, 1);
  })();
  for await (const _ of queue.batches()) break;
  await sending;
});
