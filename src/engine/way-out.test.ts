import assert from "node:assert/strict";
import { it } from "node:test";
import { drivers } from "../drivers/index.ts";
import { unavailable } from "../lib/errors.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { EventBus } from "./events.ts";
import type { Parts } from "./parts.ts";
import { ensureWayOut } from "./way-out.ts";

it("is made once, by whomever of those that come at the same moment, and nobody goes on before it is written", async () => {
  const store = createMemoryStore();
  const parts = {
    ...{ store, drivers: new Map(Object.entries(drivers)), bus: new EventBus() },
    dataplane: { settled: async () => {} },
    addresses: { newHostAddresses: () => [], checkHostAddresses: async () => {} },
    host: { routes: () => [] },
    membership: {
      control(): never {
        throw unavailable("a worker");
      },
    },
    settings: { id: "daemon", addressPools: [{ base: "10.5.0.0/16", size: 24 }], lenientCidr: false },
  } as unknown as Parts;
  const found = () =>
    store
      .snapshot()
      .list("networks")
      .map(({ spec }) => spec.name);
  const come = () => ensureWayOut(parts).then(found);
  assert.deepEqual(await Promise.all([come(), come(), come()]), Array(3).fill(["docker_gwbridge"]));
});
