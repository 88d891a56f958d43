import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { observed } from "../../model/cluster.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { refusingStore } from "../../store/refusing-testing.ts";
import { StoreError } from "../../store/store.ts";
import { newSwarmId } from "../identity/names.ts";
import { changeService, openService } from "../services.ts";
import { plainTemplate } from "../task-testing.ts";
import { newCluster } from "../testing.ts";
import { chunks, Conductor, type ConductorParts } from "./conductor.ts";
import { newService, newSpec, newTask, policy, readyNode } from "./testing.ts";

async function conducted(wish: Partial<ConductorParts> = {}) {
  const store = wish.store ?? createMemoryStore();
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    for (const id of ["n1", "n2"]) tx.insert("nodes", readyNode(id));
  });
  let now = 1000;
  const calls = new Set<{ readonly at: number; readonly call: () => void }>();
  const after = (milliseconds: number, call: () => void) => {
    const one = { at: now + milliseconds, call };
    calls.add(one);
    return () => void calls.delete(one);
  };
  const end = new AbortController();
  const conductor = new Conductor({ store, now: () => now, after, newId: newSwarmId, ...wish });
  const running = conductor.run(end.signal);
  running.catch(() => {});
  const settled = async () => {
    for (let n = 0; n < 20; n += 1) await turn();
  };
  const pass = async (milliseconds: number) => {
    now += milliseconds;
    for (const one of calls) if (one.at <= now && calls.delete(one)) one.call();
    await settled();
  };
  const tasks = () => store.snapshot().list("tasks");
  const stop = async () => {
    end.abort();
    await running;
    return calls.size;
  };
  return { store, settled, pass, tasks, stop, running };
}
const three = newSpec({ mode: { kind: "replicated", replicas: 3 } });

describe("the conductor", () => {
  it("does what is decided, once, however much is written meanwhile", async () => {
    const c = await conducted();
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => c.store.update((tx) => openService(tx, { ...three, name: `s${n}` }, 1))),
    );
    await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        c.store.update((tx) => {
          const node = tx.get("nodes", n % 2 === 0 ? "n1" : "n2");
          if (node !== undefined) tx.put("nodes", observed(node, { labels: { n: String(n) } }, n));
        }),
      ),
    );
    await c.settled();
    assert.equal(c.tasks().length, 60);
    assert.equal(await c.stop(), 0);
  });

  it("looks again when it is time, and not after it was stopped", async () => {
    const c = await conducted();
    await c.store.update((tx) => openService(tx, newSpec(), 1));
    await c.settled();
    const fail = async () => {
      await c.store.update((tx) => {
        const task = tx.list("tasks").find(({ desired }) => desired === "running");
        const status = { state: "failed", at: 1000, message: "", error: "" } as const;
        if (task !== undefined) tx.put("tasks", observed(task, { status }, 1000));
      });
      await c.settled();
    };
    await fail();
    const desired = () =>
      c
        .tasks()
        .map((task) => task.desired)
        .toSorted();
    assert.deepEqual(desired(), ["ready", "shutdown"]);
    await c.pass(5000);
    assert.deepEqual(desired(), ["running", "shutdown"]);
    await fail();
    assert.equal(await c.stop(), 0);
  });

  it("ends with the store's error: what it wrote may have been written, or not", async () => {
    const store = createMemoryStore();
    let refusal: Error | undefined;
    const c = await conducted({ store: refusingStore(store, () => refusal) });
    refusal = new StoreError("FENCED", "another one leads");
    await store.update((tx) => openService(tx, newSpec(), 1));
    await assert.rejects(c.running, /another one leads/);
    assert.equal(c.tasks().length, 0);
  });

  it("a service that can not go back is paused, and says who has what it needs", async () => {
    const c = await conducted();
    const port = { name: "", protocol: "tcp", target: 80, published: 8080, mode: "ingress" } as const;
    await c.store.update((tx) => {
      const spec = { name: "ingress", driver: "overlay", ingress: true, subnets: [] };
      tx.insert("networks", {
        id: "ingress",
        scope: "cluster",
        spec,
        pools: [],
        predefined: false,
        createdAt: "",
      } as never);
    });
    const update = { ...policy, failureAction: "rollback" as const };
    const publishing = newSpec({ name: "a", update, endpoint: { mode: "vip", ports: [port] } });
    const { result: service } = await c.store.update((tx) => openService(tx, publishing, 1));
    await c.settled();
    await c.store.update((tx) => {
      const row = tx.get("services", service.id);
      const next = { ...plainTemplate, forceUpdate: 1 };
      if (row !== undefined)
        changeService(tx, row, { ...publishing, task: next, endpoint: { mode: "vip", ports: [] } }, 2);
    });
    await c.store.update((tx) => openService(tx, { ...publishing, name: "b" }, 3));
    await c.settled();
    await c.store.update((tx) => {
      for (const task of tx.list("tasks"))
        if (task.serviceId === service.id && task.isReplacement)
          tx.put("tasks", observed(task, { status: { state: "failed", at: 1000, message: "", error: "" } }, 1000));
    });
    await c.settled();
    const status = c.store.snapshot().get("services", service.id)?.update;
    assert.equal(status?.state, "paused");
    assert.match(
      status.message,
      /^update paused: it can not be rolled back: .*port '8080' is already in use by service 'b'/,
    );
    await c.stop();
  });
});

describe("a decision that is too large for one transaction", () => {
  const service = newService({ task: { ...plainTemplate, serviceLabels: { much: "x".repeat(100_000) } } });
  const tasks = Array.from({ length: 100 }, (_, n) => newTask({ id: `t${n}` }));
  const edits = [
    ...tasks.map((task) => ({ kind: "create", task }) as const),
    { kind: "update", status: { state: "updating", startedAt: 0, message: "" } } as const,
    ...tasks.map(({ id }) => ({ kind: "tell", id, desired: "running" }) as const),
  ];
  it("is carried out in parts: each task in one of them, the service in the last", () => {
    const parts = chunks({ serviceId: service.id, service, edits });
    assert.ok(parts.length > 2 && parts.every(({ edits: some }) => some.length <= 100));
    assert.deepEqual(parts.flatMap((part) => part.edits).length, edits.length);
    for (const { id } of tasks) {
      const of = parts.filter((part) =>
        part.edits.some((edit) => (edit.kind === "create" ? edit.task.id : "id" in edit && edit.id) === id),
      );
      assert.equal(of.length, 1);
    }
    assert.equal(parts.at(-1)?.edits.at(-1)?.kind, "update");
  });
  it("a small one is one", () => {
    assert.equal(chunks({ serviceId: "s", service: newService(), edits }).length, 1);
    assert.equal(chunks({ serviceId: "s", service, edits: [] }).length, 0);
  });
});
