import assert from "node:assert/strict";
import { it } from "node:test";
import { newCluster } from "../cluster/testing.ts";
import { createFakeKernel } from "../kernel/fake/fake-kernel.ts";
import { publicPart } from "../model/cluster.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Config } from "./config.ts";
import { createWireguard } from "./wireguard.ts";
import { until } from "../../test/support/until.ts";

it("makes keys of the first generation for a manager of an earlier version, which says none", async () => {
  const [store, kernel] = [createMemoryStore(), createFakeKernel()];
  const log = { info() {}, warn() {} };
  const dataplane = { tryAgain() {} } as unknown as Parameters<typeof createWireguard>[0]["dataplane"];
  const wireguard = createWireguard(
    { store, kernel, dataplane, log },
    { execRoot: "/nowhere" } as Config,
    "e",
    () => {},
  );
  wireguard.keys.start();
  const { keyRotation: _, ...cluster } = publicPart(newCluster({ id: "c" }));
  wireguard.follow(cluster);
  await until(() => wireguard.said().keys.length > 0, "a key");
  assert.deepEqual(
    store
      .snapshot()
      .list("ownEnds")
      .map(({ id, keys, sends }) => [id, keys[0]?.generation, keys[0]?.udpPort, sends]),
    [["c", 1, 4793, 1]],
  );
  await wireguard.keys.stop();
  await store.close();
});
