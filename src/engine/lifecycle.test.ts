import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpointRow, idOf, networkRows, putNetwork } from "../../test/support/rows.ts";
import { forbidden, system, unavailable } from "../lib/errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { Container, ContainerState } from "../model/container.ts";
import { createMemoryFiles } from "../runtime/files/memory-files.ts";
import type { ExitEvent } from "../runtime/runtime.ts";
import type { Transaction } from "../store/store.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { createContainers } from "./containers.ts";
import { EventBus } from "./events.ts";
import type { Parts } from "./parts.ts";
import { until } from "../../test/support/until.ts";

const rows = networkRows({ number: 1, driver: "overlay" });
const id = idOf("5", 2);
const state: ContainerState = {
  status: "running",
  pid: 1,
  exitCode: 0,
  error: "",
  oomKilled: false,
  startedAt: "2026-01-01T00:00:00Z",
  finishedAt: "2026-01-01T00:00:00Z",
  restartCount: 0,
  stoppedByUser: false,
};
const spec = {
  restart: { name: "always", maximumRetryCount: 0 },
  ...{ networkMode: "none", pidMode: "", ipcMode: "", hostname: "h", domainname: "", image: "i", labels: {} },
  ...{ mounts: [], extraHosts: [], dns: [], dnsSearch: [], dnsOptions: [], sysctls: {}, ports: [], exposed: [] },
};
const web = { id, name: "web", spec, attachments: [], state } as unknown as Container;

const becomes = <T>(what: () => T, is: T) =>
  until(
    () => what() === is,
    () => `${String(is)}, and not ${String(what())}`,
  );

/** The engine's containers with one that runs, and with what stands for its parts. */
async function containers(test: TestContext) {
  const dataRoot = await mkdtemp(join(tmpdir(), "tombolo-lifecycle-"));
  const store = createMemoryStore();
  await store.update((tx) => {
    putNetwork(tx, rows);
    tx.put("names", { kind: "container", name: "web", id });
    tx.put("containers", web);
  });
  const tries: number[] = [];
  const warnings: string[] = [];
  const errors: string[] = [];
  const cluster = { answer: undefined as Error | undefined };
  const answered = async () => {
    if (cluster.answer !== undefined) throw cluster.answer;
    return [];
  };
  let exited = (_: ExitEvent) => {};
  const processes = {
    onExit(tell: typeof exited) {
      exited = tell;
    },
    list: async () => [],
    reap: async () => {},
    start: async () => 7,
    kill: async () => ends(),
    remove: async () => {},
    logPath: () => "",
  };
  const ends = () => exited({ containerId: id, exitCode: 1, exitedAt: new Date().toISOString(), oomKilled: false });
  const into = (texts: string[]) => (_: object, text: string) => void texts.push(text);
  const log = { debug() {}, info() {}, error: into(errors), warn: into(warnings) };
  const parts = {
    store,
    runtime: { processes, memoryFiles: createMemoryFiles(join(dataRoot, "memory")), onReconnect() {} },
    dataplane: { settled: async () => {} },
    resolver: { open() {}, close() {} },
    host: { dns: () => ({ servers: [], search: [], options: [] }), namespacePath: () => "" },
    addresses: { prepared: async (_: unknown, __: unknown, body: (p: []) => unknown) => body([]), announce() {} },
    overlays: {
      claim() {
        tries.push(Date.now());
        return answered();
      },
      renew: answered,
      release() {},
      async released() {},
    },
    settings: { dataRoot, dns: {} },
    bus: new EventBus(),
    locks: new KeyedLock(),
    log,
  } as unknown as Parts;
  const verbs = createContainers(parts, { execIds: () => [], health: () => ({ failingStreak: 0, log: [] }) });
  test.after(async () => {
    verbs.stopAll();
    await rm(dataRoot, { recursive: true, force: true });
  });
  const stateNow = () => store.snapshot().get("containers", id)?.state;
  return {
    ...{ verbs, parts, store, tries, warnings, errors, cluster, ends, stateNow },
    claimsNow: () => store.snapshot().get("containers", id)?.claims,
    becomes: (status: ContainerState["status"]) => becomes(() => stateNow()?.status, status),
    triedTimes: (count: number) => becomes(() => tries.length, count),
  };
}

it("restarts what it finds ended only when that is begun", async (test) => {
  const { verbs, tries, stateNow, becomes } = await containers(test);
  await verbs.recover();
  await sleep(200);
  assert.deepEqual([stateNow()?.status, tries.length], ["restarting", 0]);
  verbs.beginRestarts();
  await becomes("running");
  assert.deepEqual([stateNow()?.pid, stateNow()?.restartCount], [7, 1]);
});

it("puts the others right where one container cannot be", async (test) => {
  const { verbs, parts, store, stateNow, errors } = await containers(test);
  const stuck = idOf("5", 1);
  await store.update((tx) => tx.put("containers", { ...web, id: stuck, name: "stuck" }));
  parts.runtime.processes.reap = async (one) => {
    if (one === stuck) throw system("its shim does not answer");
  };
  await verbs.recover();
  assert.deepEqual([stateNow()?.status, errors.length], ["restarting", 1]);
});

it("goes on with restarts while no manager answers, and gives up what is refused", async (test) => {
  const { verbs, tries, ends, stateNow, becomes, triedTimes, cluster } = await containers(test);
  verbs.beginRestarts();
  cluster.answer = unavailable("no manager answers");
  const ended = Date.now();
  ends();
  await triedTimes(2);
  const [first = 0, second = 0] = tries;
  assert.ok(first - ended >= 95 && second - first >= 195, "each pause is twice the one before");
  assert.deepEqual([stateNow()?.status, stateNow()?.restartCount], ["restarting", 1]);
  cluster.answer = undefined;
  await becomes("running");
  assert.deepEqual([tries.length, stateNow()?.error], [3, ""]);
  cluster.answer = forbidden("Address already in use");
  ends();
  await triedTimes(4);
  await becomes("exited");
  assert.match(stateNow()?.error ?? "", /Address already in use/);
  assert.equal(stateNow()?.exitCode, 1, "how it has ended is not lost");
});

it("leaves a container alone that the user stops between two restarts", async (test) => {
  const { verbs, tries, ends, stateNow, becomes, cluster } = await containers(test);
  verbs.beginRestarts();
  cluster.answer = unavailable("no manager answers");
  ends();
  await becomes("restarting");
  await verbs.stop("web", {});
  const before = tries.length;
  await sleep(400);
  assert.deepEqual([stateNow()?.status, tries.length], ["exited", before]);
});

/** An endpoint of `web` on a network of the cluster. */
const attached = { ...endpointRow(rows, { member: 2 }), containerId: id, sandboxId: id };
const claim = { id: attached.id, networkId: attached.networkId, mac: attached.mac, addresses: attached.addresses };
const attach = (tx: Transaction, spec: object = {}) => {
  tx.put("networks", { ...rows.network, scope: "cluster" });
  tx.put("endpoints", attached);
  tx.put("containers", { ...web, spec: { ...web.spec, ...spec } });
};

it("keeps what it has of the cluster while it is restarting, and no longer", async (test) => {
  const { verbs, store, ends, becomes, claimsNow, cluster } = await containers(test);
  await store.update((tx) => attach(tx));
  verbs.beginRestarts();
  cluster.answer = unavailable("no manager answers");
  ends();
  await becomes("restarting");
  assert.deepEqual(claimsNow(), [claim]);
  await verbs.stop("web", {});
  assert.equal(claimsNow(), undefined);
});

it("is restarted by a user with what it has, also where its end would remove it; what cannot be started has ended", async (test) => {
  const { verbs, store, tries, stateNow, claimsNow, cluster } = await containers(test);
  await store.update((tx) => attach(tx, { autoRemove: true, restart: { name: "no", maximumRetryCount: 0 } }));
  await verbs.restart("web", {});
  await sleep(50);
  assert.deepEqual([stateNow()?.status, tries.length], ["running", 1]);
  await store.update((tx) => attach(tx));
  cluster.answer = forbidden("Address already in use");
  await assert.rejects(verbs.restart("web", {}), /Address already in use/);
  assert.deepEqual([stateNow()?.status, claimsNow()], ["exited", undefined]);
});

it("renames a container of which the cluster cannot be told", async (test) => {
  const { verbs, parts, store, warnings, cluster } = await containers(test);
  await store.update((tx) => tx.put("endpoints", { ...endpointRow(rows, { member: 2 }), containerName: "web" }));
  const since = Date.now() - 1000;
  cluster.answer = unavailable("no manager answers");
  await verbs.rename("web", "bee");
  assert.equal(store.snapshot().get("containers", id)?.name, "bee");
  const events = [];
  for await (const event of parts.bus.subscribe({ since, until: Date.now(), filters: new Map() }, test.signal))
    events.push([event.action, event.attributes["name"], event.attributes["oldName"]]);
  assert.deepEqual(events, [["rename", "bee", "/web"]]);
  assert.deepEqual(warnings, ["the cluster has not heard of a new name"]);
});
