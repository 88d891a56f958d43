import assert from "node:assert/strict";
import { test } from "node:test";
import { serve } from "../testing.ts";

const volume = { name: "vol", labels: { a: "b" }, options: {}, anonymous: false, createdAt: "2026-01-01T00:00:00Z" };
const detail = { volume, mountpoint: "/m", users: [] };
const shown = {
  CreatedAt: "2026-01-01T00:00:00Z",
  Driver: "local",
  Labels: { a: "b" },
  Mountpoint: "/m",
  Name: "vol",
  Options: null,
  Scope: "local",
};

test("volumes are listed, shown, made and removed", async () => {
  const seen: unknown[] = [];
  const volumes = {
    list: () => [detail],
    inspect: () => detail,
    create: async (request: object) => (seen.push(request), detail),
    remove: async (...all: unknown[]) => void seen.push(all),
  };
  await using server = await serve({ volumes });
  assert.deepEqual((await server.ask("GET", "/volumes")).json, { Volumes: [shown], Warnings: null });
  assert.deepEqual((await server.ask("GET", "/volumes/vol")).json, shown);
  const made = await server.ask("POST", "/volumes/create", { body: { Name: null, Labels: { a: "b" } } });
  assert.deepEqual([made.status, made.json], [201, shown]);
  assert.equal((await server.ask("DELETE", "/volumes/vol?force=1")).status, 204);
  assert.deepEqual(seen, [{ name: "", driver: "local", labels: { a: "b" }, options: {} }, ["vol", true]]);
});

test("prune took named volumes, too, before API 1.42", async () => {
  const seen: unknown[] = [];
  const prune = async (filters: ReadonlyMap<string, readonly string[]>) => {
    seen.push([...filters]);
    return { names: ["vol"], freed: 3 };
  };
  await using server = await serve({ volumes: { prune } });
  const { json } = await server.ask("POST", "/volumes/prune");
  assert.deepEqual(json, { VolumesDeleted: ["vol"], SpaceReclaimed: 3 });
  await server.ask("POST", "/v1.41/volumes/prune");
  assert.deepEqual(seen, [[], [["all", ["true"]]]]);
});
