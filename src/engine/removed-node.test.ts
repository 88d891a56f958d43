import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { keepOnly } from "../cluster/attachments.ts";
import { newNode } from "../cluster/testing.ts";
import { serveManager, startWorker } from "./overlays-testing.ts";
import { until } from "../../test/support/until.ts";

it("a node that was removed keeps its containers' networks until a manager says so, and then nothing of them", async () => {
  await using opened = new AsyncDisposableStack();
  const manager = await serveManager(() => {});
  opened.defer(manager.stop);
  const worker = await startWorker(manager, 3);
  opened.defer(worker.stop);
  const { nodeId } = manager.worker.subject;
  const rows = (table: "networks" | "endpoints" | "peers" | "virtualServices") =>
    worker.store
      .snapshot()
      .list(table)
      .filter((row) => !("spec" in row) || row.spec.name === "net").length;
  await worker.connect("c1");
  await worker.connect("c2");
  manager.wire.cut();
  await worker.disconnect("c2");
  await manager.store.update((tx) => {
    keepOnly(tx, nodeId, new Set());
    tx.delete("nodes", nodeId);
  });
  await sleep(500);
  assert.deepEqual([rows("networks"), rows("endpoints")], [1, 1], "nobody has said anything");
  manager.wire.heal();
  await until(() => rows("networks") + rows("endpoints") === 0, "it keeps what is not its own");
  assert.deepEqual(await worker.audit(), []);
  await assert.rejects(worker.connect("c3"), {
    class: "forbidden",
    message: `node ${nodeId} was removed from the swarm`,
  });
  worker.warnings.length = 0;
  await sleep(1500);
  assert.deepEqual(worker.warnings, [], "nothing is given back that was taken already");

  await manager.store.update((tx) => tx.insert("nodes", newNode({ id: nodeId })));
  await until(async () => (await worker.connect("c3").catch(() => "no")) !== "no", "it is a node again");
  assert.deepEqual([rows("networks"), rows("endpoints"), rows("peers")], [1, 1, 0]);
});
