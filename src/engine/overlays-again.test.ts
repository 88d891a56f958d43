import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";
import { endpointRow, networkRows, putNetwork } from "../../test/support/rows.ts";
import type { AttachWish } from "../cluster/attachments.ts";
import { system } from "../lib/errors.ts";
import type { Endpoint } from "../model/endpoint.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { Overlays } from "./overlays.ts";
import { until } from "../../test/support/until.ts";

let store: Store;
let overlays: Overlays;
let asked: AttachWish[];
let answer: (wish: AttachWish) => Promise<void>;
let rows: Endpoint[];

beforeEach(async () => {
  [store, asked, answer] = [createMemoryStore(), [], async () => {}];
  const net = networkRows({ number: 1 });
  const network = { ...net.network, scope: "cluster" } as const;
  rows = [2, 3].map((member) => endpointRow({ network, pools: net.pools }, { member }));
  await store.update((tx) => {
    putNetwork(tx, { network, pools: net.pools });
    for (const row of rows) tx.put("endpoints", row);
  });
  const attach = async (wish: AttachWish) => {
    asked.push(wish);
    await answer(wish);
  };
  const parts = {
    ...{ store, membership: { isInSwarm: true, attach, detach: async () => {} } },
    ...{ replica: { letGo() {}, hold() {} }, bus: { publish() {} }, log: { info() {}, warn() {} } },
  };
  overlays = new Overlays(parts as unknown as ConstructorParameters<typeof Overlays>[0], {
    ensureWayOut: async () => {},
    disconnect: async () => {},
  });
  overlays.start();
});
afterEach(async () => {
  overlays.stop();
  await store.close();
});

it("tells of a name once more when it becomes another while it is being told", async () => {
  const [row] = rows as [Endpoint];
  const name = (names: string[]) => store.update((tx) => tx.put("endpoints", { ...row, names }));
  const said = Promise.withResolvers<void>();
  answer = () => said.promise;
  await name(["second"]);
  const first = overlays.renew(row.containerId);
  await until(() => asked.length > 0, "the manager is asked");
  await name(["third"]);
  const last = overlays.renew(row.containerId);
  said.resolve();
  await Promise.all([first, last]);
  assert.deepEqual(
    asked.map(({ names }) => names),
    [["second"], ["third"]],
  );
});

it("one that cannot be had keeps no other waiting", async () => {
  const [row, other] = rows as [Endpoint, Endpoint];
  answer = async ({ endpointId }) => {
    if (endpointId === row.id) throw system("something is wrong with it");
  };
  const [first, second] = [overlays.renew(row.containerId), overlays.renew(other.containerId)];
  await second;
  assert.ok(asked.some(({ endpointId }) => endpointId === other.id));
  answer = async () => {};
  await first;
});
