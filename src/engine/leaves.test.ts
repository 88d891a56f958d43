import assert from "node:assert/strict";
import { it } from "node:test";
import { endpointRow, networkRows } from "../../test/support/rows.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Transaction } from "../store/store.ts";
import { leafFor, leafSize, mostLeaves } from "./leaves.ts";

const one = networkRows({ number: 1 });
const two = networkRows({ number: 2 });
/** Members of network 1, `leafSize` on each bridge, so many in all. */
const crowd = (count: number) => (tx: Transaction) => {
  for (let at = 0; at < count; at += 1) {
    const leaf = Math.floor(at / leafSize);
    tx.put("endpoints", endpointRow(one, { member: at + 2, ...(leaf > 0 && { leaf }) }));
  }
};
async function chosen(...changes: ((tx: Transaction) => void)[]): Promise<(number | undefined)[]> {
  const store = createMemoryStore();
  for (const change of changes) await store.update(change);
  return [one, two].map(({ network }) => leafFor(store.snapshot(), network));
}

it("fills the root bridge, then one leaf after the other, each network its own", async () => {
  assert.deepEqual(await chosen(crowd(leafSize - 1)), [undefined, undefined]);
  assert.deepEqual(await chosen(crowd(leafSize)), [1, undefined]);
  assert.deepEqual(await chosen(crowd(2 * leafSize - 1)), [1, undefined]);
  assert.deepEqual(await chosen(crowd(2 * leafSize)), [2, undefined]);
});

it("gives a place that became free to the next one", async () => {
  const leaves = (member: number) => (tx: Transaction) => tx.delete("endpoints", endpointRow(one, { member }).id);
  assert.deepEqual(await chosen(crowd(2 * leafSize), leaves(leafSize + 5)), [1, undefined]);
  assert.deepEqual(await chosen(crowd(2 * leafSize), leaves(leafSize + 5), leaves(2)), [undefined, undefined]);
});

it("says when a network takes no more", async () => {
  await assert.rejects(chosen(crowd(leafSize * (mostLeaves + 1))), {
    name: "EngineError",
    class: "forbidden",
    message: "network net1 has 17000 containers on this host: it takes no more",
  });
});
