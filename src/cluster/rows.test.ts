import assert from "node:assert/strict";
import { it } from "node:test";
import { publicPart, revised } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { createRoot } from "./identity/root.ts";
import { newCluster, newNode } from "./testing.ts";

it("a cluster's public part holds no secret, whatever the row holds", () => {
  const next = createRoot();
  const cluster = newCluster({ unlockKey: "SWMKEY-1-secret" });
  const row: typeof cluster = { ...cluster, authority: { ...cluster.authority, next } };
  const text = JSON.stringify(publicPart(row));
  const secrets = [
    row.tokens.worker,
    row.tokens.manager,
    row.unlockKey ?? "",
    ...[row.authority.root, next, row.etcdAuthority].map(({ key }) => key?.split("\n")[1] ?? ""),
  ];
  for (const secret of secrets) assert.ok(secret.length > 10 && !text.includes(secret));
  assert.equal(publicPart(row).roots, row.authority.root.certificate + next.certificate);
});

it("nodes are found by id and by role, and a change is a version more", async () => {
  const store = createMemoryStore();
  const [worker, manager] = [newNode(), newNode({ role: "manager" })];
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    tx.insert("nodes", worker);
    tx.insert("nodes", manager);
  });
  await assert.rejects(
    store.update((tx) => tx.insert("nodes", worker)),
    { code: "EXISTS" },
  );
  const promoted = revised(worker, { role: "manager" }, 7);
  await store.update((tx) => tx.put("nodes", promoted));
  assert.deepEqual([promoted.version, promoted.updatedAt, promoted.createdAt], [2, 7, 0]);
  assert.equal(store.snapshot().where("nodes", "role", "manager").length, 2);
  await store.close();
});
