import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpointRow, networkRows } from "../../test/support/rows.ts";
import { newTask } from "../cluster/task-testing.ts";
import { plainContainer } from "../model/container-testing.ts";
import { notFound, unavailable } from "../lib/errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { Container, HealthStatus } from "../model/container.ts";
import { type Network, plainSpec } from "../model/network.ts";
import { hasEnded, type Task, type TaskState } from "../model/service.ts";
import type { ExitEvent } from "../runtime/runtime.ts";
import { createMemoryFiles } from "../runtime/files/memory-files.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { createContainers } from "./containers.ts";
import { EventBus } from "./events.ts";
import { createNetworks } from "./networks.ts";
import type { Parts } from "./parts.ts";
import { TaskRunner } from "./task-runner.ts";
import { until } from "../../test/support/until.ts";

const none: Network = {
  id: "none",
  scope: "local",
  spec: { ...plainSpec, name: "none", driver: "none" },
  pools: [],
  predefined: true,
  createdAt: "",
};
const image = { id: "sha256:1", tags: [], config: { Cmd: ["sh"] } };

const becomes = <T>(what: () => T, is: T) =>
  until(
    () => what() === is,
    () => `${String(is)}, and not ${String(what())}`,
  );

interface Play {
  isHere: boolean;
  /** What the registry says. */
  refuses: Error | undefined;
  /** What managers say. */
  answers: Error | undefined;
}

/** The engine's containers and the runner, over what stands for containerd and the registry. */
async function host(test: TestContext, task: Task, wish: Partial<Play> = {}, networks: readonly Network[] = []) {
  const dataRoot = await mkdtemp(join(tmpdir(), "tombolo-tasks-"));
  const store = createMemoryStore();
  const states: TaskState[] = [];
  const play: Play = { isHere: true, refuses: undefined, answers: undefined, ...wish };
  const pulls: AbortSignal[] = [];
  const signals: number[] = [];
  const listeners = new Set<(event: ExitEvent) => void>();
  const exits = (containerId: string, exitCode: number) => {
    for (const tell of listeners) tell({ containerId, exitCode, exitedAt: new Date().toISOString(), oomKilled: false });
  };
  const processes = {
    onExit: (tell: (event: ExitEvent) => void) => listeners.add(tell),
    list: async () => [],
    reap: async () => {},
    create: async () => {},
    remove: async () => {},
    start: async () => 7,
    update: async () => {},
    logPath: () => "",
    kill: async (id: string, signal: number) => {
      signals.push(signal);
      setImmediate(() => exits(id, 128 + signal));
    },
  };
  const images = {
    async find() {
      if (!play.isHere) throw notFound("No such image: busybox");
      return image;
    },
    pull: (_name: string, _options: object, _progress: unknown, signal: AbortSignal) => {
      pulls.push(signal);
      return play.refuses === undefined
        ? new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)))
        : Promise.reject(play.refuses);
    },
  };
  const quiet = () => {};
  const parts = {
    store,
    runtime: { processes, images, memoryFiles: createMemoryFiles(join(dataRoot, "memory")), onReconnect() {} },
    dataplane: { settled: async () => {} },
    drivers: new Map(),
    resolver: { open() {}, close() {} },
    host: { name: "h1", dns: () => ({ servers: [], search: [], options: [] }), namespacePath: () => "" },
    addresses: {
      prepared: async (_: unknown, __: unknown, body: (p: []) => unknown) => body([]),
      announce() {},
      expect() {},
    },
    overlays: {
      async claim() {
        if (play.answers !== undefined) throw play.answers;
        return [];
      },
      release() {},
      async renew() {},
      async released() {},
    },
    replica: { file: () => undefined, registryAuth: () => undefined, onFiles() {} },
    settings: { dataRoot, dns: {} },
    bus: new EventBus(),
    locks: new KeyedLock(),
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  } as unknown as Parts;
  await store.update((tx) => {
    for (const network of [none, ...networks]) {
      tx.insert("networks", network);
      tx.insert("names", { kind: "network", name: network.spec.name, id: network.id });
    }
    tx.insert("tasks", task);
  });
  const containers = createContainers(parts, { execIds: () => [], health: () => ({ failingStreak: 0, log: [] }) });
  const begin = () => {
    const runner = new TaskRunner(parts, { containers, images: images as never, volumes: {} as never });
    runner.start();
    return runner;
  };
  let runner = begin();
  const watching = new AbortController();
  void (async () => {
    for await (const { snapshot } of store.watch(watching.signal)) {
      const state = snapshot.get("tasks", task.id)?.status.state;
      if (state !== undefined && states.at(-1) !== state) states.push(state);
    }
  })();
  test.after(async () => {
    watching.abort();
    runner.stop();
    containers.stopAll();
    await rm(dataRoot, { recursive: true, force: true });
  });
  const row = () => store.snapshot().get("tasks", task.id);
  const all = () => store.snapshot().where("containers", "task", task.id);
  return {
    ...{ parts, store, states, play, pulls, signals, containers, row, all },
    becomes: (state: TaskState) => becomes(() => row()?.status.state, state),
    exits: (code: number) => exits(all()[0]?.id ?? "", code),
    desires: (desired: TaskState) =>
      store.update((tx) => tx.put("tasks", { ...(tx.get("tasks", task.id) ?? task), desired })),
    deletes: () => store.update((tx) => tx.delete("tasks", task.id)),
    health: (health: HealthStatus) =>
      store.update((tx) => {
        const container = all()[0] as Container;
        tx.put("containers", { ...container, state: { ...container.state, health } });
      }),
    end: () => runner.stop(),
    again() {
      runner = begin();
    },
  };
}

const checked = {
  ...plainContainer,
  healthCheck: { ...{ test: ["CMD", "true"], interval: 0, timeout: 0, startPeriod: 0 }, startInterval: 0, retries: 0 },
};

it("a task becomes a container, step by step, and says so", async (test) => {
  const h = await host(test, newTask({ id: "t" }));
  await h.becomes("running");
  assert.deepEqual(h.states, ["assigned", "accepted", "preparing", "ready", "starting", "running"]);
  const [container] = h.all();
  assert.deepEqual([container?.name, container?.taskId, container?.state.status], ["web.1.t", "t", "running"]);
  const { message, error, container: seen } = h.row()?.status ?? {};
  assert.deepEqual([message, error, seen], ["started", "", { id: container?.id, pid: 7, exitCode: 0 }]);
  h.exits(0);
  await h.becomes("complete");
  assert.deepEqual([h.row()?.status.message, h.all().length], ["finished", 1]);
});

it("what ends otherwise has failed, with Docker's words", async (test) => {
  const h = await host(test, newTask());
  await h.becomes("running");
  h.exits(3);
  await h.becomes("failed");
  assert.deepEqual([h.row()?.status.error, h.row()?.status.container?.exitCode], ["task: non-zero exit (3)", 3]);
  await assert.rejects(h.containers.start(h.all()[0]?.id ?? ""), { class: "forbidden" });
});

it("a task that is ready waits until it shall run", async (test) => {
  const h = await host(test, newTask({ desired: "ready" }));
  await h.becomes("ready");
  await sleep(50);
  assert.deepEqual([h.row()?.status.state, h.all()[0]?.state.status], ["ready", "created"]);
  await h.desires("running");
  await h.becomes("running");
});

it("told to stop, it gets its signal and its container stays; told to go, its container goes before it says so", async (test) => {
  for (const desired of ["shutdown", "remove"] as const) {
    const h = await host(test, newTask({ id: desired }, { container: { ...plainContainer, stopSignal: "INT" } }));
    await h.becomes("running");
    let left = -1;
    const end = new AbortController();
    void (async () => {
      for await (const { snapshot } of h.store.watch(end.signal)) {
        const state = snapshot.get("tasks", desired)?.status.state ?? "new";
        if (hasEnded(state) && left < 0) left = snapshot.where("containers", "task", desired).length;
      }
    })();
    await h.desires(desired);
    await h.becomes("shutdown");
    await becomes(() => left >= 0, true);
    end.abort();
    assert.deepEqual([h.signals, left], [[2], desired === "remove" ? 0 : 1]);
    await h.deletes();
    await becomes(() => h.all().length, 0);
  }
});

it("the container of a task that is no more is removed, whatever it does", async (test) => {
  const h = await host(test, newTask());
  await h.becomes("running");
  await h.deletes();
  await becomes(() => h.all().length, 0);
});

it("what users do to a task's container is noticed", async (test) => {
  const h = await host(test, newTask());
  await h.becomes("running");
  await h.containers.remove(h.all()[0]?.id ?? "", { force: true, volumes: false, link: false });
  await h.becomes("failed");
  assert.equal(h.row()?.status.error, "task: its container was removed");
});

it("a task that is not on its service's networks any more has failed, and is reached nowhere from then on", async (test) => {
  const rows = networkRows({ number: 1, driver: "overlay" });
  const shop: Network = { ...rows.network, scope: "cluster" };
  const { name } = shop.spec;
  const networks = [{ network: shop.id, aliases: [], driverOptions: {} }];
  const h = await host(test, newTask({ id: "t", desired: "ready" }, { networks }), {}, [shop]);
  await h.becomes("ready");
  const [{ id = "" } = {}] = h.all();
  const endpoint = { ...endpointRow(rows, { member: 2 }), sandboxId: id, containerId: id };
  await h.store.update((tx) => tx.insert("endpoints", endpoint));
  await h.desires("running");
  await h.becomes("running");
  assert.deepEqual(h.row()?.attachments, [{ network: shop.id, addresses: endpoint.addresses }]);
  await createNetworks(h.parts).disconnect(name, "web.1.t", true);
  await h.becomes("failed");
  assert.equal(h.row()?.status.error, `task: non-zero exit (143): its container was taken off network ${name}`);
  assert.deepEqual([h.row()?.attachments, h.all()[0]?.state.status], [[], "exited"]);
});

it("a task's container has the name that users give it; what follows its end is its service's to say", async (test) => {
  const h = await host(test, newTask({ id: "t" }));
  await h.becomes("running");
  await h.containers.rename("web.1.t", "mine");
  const update = (name: "always" | "no") => h.containers.update("mine", { restart: { name, maximumRetryCount: 0 } });
  await assert.rejects(update("always"), {
    class: "conflict",
    message: /^container mine is a task of service web: .* docker service update --restart-condition$/,
  });
  await update("no");
  await h.desires("shutdown");
  await h.becomes("shutdown");
  assert.deepEqual([h.all()[0]?.name, h.all()[0]?.state.status], ["mine", "exited"]);
  const refusal = { class: "forbidden", message: "task t has ended: it does not run again" };
  await assert.rejects(h.containers.start("mine"), refusal);
  await assert.rejects(h.containers.restart("mine", {}), refusal);
  assert.equal(h.all()[0]?.state.status, "exited");
});

it("without its image it is rejected, with the registry's reason; so is one whose words are wrong", async (test) => {
  const h = await host(test, newTask(), { isHere: false, refuses: notFound("pull access denied for busybox") });
  await h.becomes("rejected");
  assert.deepEqual(
    [h.row()?.status.error, h.all().length],
    ["No such image: busybox: pull access denied for busybox", 0],
  );
  const other = await host(test, newTask({}, { container: { ...plainContainer, env: ["A={{.Nope}}"] } }));
  await other.becomes("rejected");
  assert.match(other.row()?.status.error ?? "", /\{\{\.Nope\}\} is not known/);
});

it("a task that is called off ends its pull", async (test) => {
  const h = await host(test, newTask(), { isHere: false });
  await becomes(() => h.pulls.length, 1);
  await h.desires("shutdown");
  await h.becomes("shutdown");
  assert.deepEqual([h.pulls[0]?.aborted, h.all().length], [true, 0]);
});

it("what has not come from a manager, and a manager that does not answer, are waited for, and that is said", async (test) => {
  const withLogin = await host(test, newTask({}, { registryAuth: "" }), { isHere: false });
  await becomes(() => withLogin.row()?.status.error, "the login to the registry has not come from a manager yet");
  assert.equal(withLogin.row()?.status.state, "preparing");
  const h = await host(test, newTask(), { answers: unavailable("no manager of the swarm answers") });
  await becomes(() => h.row()?.status.error ?? "", "starting container failed: no manager of the swarm answers");
  assert.equal(h.row()?.status.state, "starting");
  h.play.answers = undefined;
  await h.becomes("running");
  assert.equal(h.row()?.status.error, "");
});

it("with a health check it runs when it is healthy, and is ended when it is not", async (test) => {
  const h = await host(test, newTask({}, { container: checked }));
  await becomes(() => h.all()[0]?.state.status, "running");
  await sleep(50);
  assert.equal(h.row()?.status.state, "starting");
  await h.health("healthy");
  await h.becomes("running");
  await h.health("unhealthy");
  await h.becomes("failed");
  assert.equal(h.row()?.status.error, "task: non-zero exit (143): dockerexec: unhealthy container");
  const never = await host(test, newTask({}, { container: checked }));
  await becomes(() => never.all()[0]?.state.status, "running");
  await never.health("unhealthy");
  await never.becomes("failed");
  assert.ok(!never.states.includes("running"));
});

it("goes on where a daemon before it ended, with one container", async (test) => {
  for (const desired of ["running", "shutdown", "remove"] as const)
    for (const state of ["assigned", "accepted", "preparing", "ready", "starting", "running"] as const)
      for (const has of ["nothing", "created", "running"] as const) {
        const h = await host(test, newTask({ desired: "ready" }));
        await h.becomes("ready");
        h.end();
        const [container] = h.all() as [Container];
        await h.store.update((tx) => {
          const task = tx.get("tasks", h.row()?.id ?? "") as Task;
          tx.put("tasks", { ...task, desired, status: { ...task.status, state } });
          const now = { ...container.state, status: has === "nothing" ? "created" : has } as const;
          if (has === "nothing") tx.delete("names", `container|${container.name}`);
          if (has === "nothing") tx.delete("containers", container.id);
          else tx.put("containers", { ...container, state: now });
        });
        h.again();
        const isLost = has === "nothing" && ["ready", "starting", "running"].includes(state);
        await h.becomes(desired !== "running" ? "shutdown" : isLost ? "failed" : "running");
        const count = desired === "remove" || (has === "nothing" && (isLost || desired === "shutdown")) ? 0 : 1;
        assert.equal(h.all().length, count, `${desired} ${state} ${has}`);
        if (has === "running" && count > 0) assert.equal(h.all()[0]?.id, container.id);
      }
});
