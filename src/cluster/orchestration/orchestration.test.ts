import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { observed } from "../../model/cluster.ts";
import type { Task } from "../../model/service.ts";
import { type Row, Rows } from "../../store/rows.ts";
import type { RowKey, Snapshot } from "../../store/store.ts";
import type { TableName, Tables } from "../../store/tables.ts";
import { plainTemplate } from "../task-testing.ts";
import { newCluster } from "../testing.ts";
import { Orchestration } from "./orchestration.ts";
import { newService, newTask, readyNode } from "./testing.ts";

/** Counts the rows that are handed out, by their table. */
class Counting implements Snapshot {
  readonly #rows: Snapshot;
  readonly counts = new Map<TableName, number>();
  constructor(rows: Snapshot) {
    this.#rows = rows;
  }
  get revision() {
    return this.#rows.revision;
  }
  #count<R>(table: TableName, rows: readonly R[]): readonly R[] {
    this.counts.set(table, (this.counts.get(table) ?? 0) + rows.length);
    return rows;
  }
  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    const row = this.#rows.get(table, key);
    this.#count(table, row === undefined ? [] : [row]);
    return row;
  }
  list<T extends TableName>(table: T) {
    return this.#count(table, this.#rows.list(table));
  }
  where<T extends TableName>(table: T, index: string, value: string) {
    return this.#count(table, this.#rows.where(table, index, value));
  }
  of = (table: TableName) => this.counts.get(table) ?? 0;
}

/** Services with three running tasks each, on nodes with as many tasks each. */
function world(services: number, nodes: number) {
  const rows: (readonly [TableName, Row])[] = [["clusters", newCluster()]];
  for (let n = 0; n < nodes; n += 1) rows.push(["nodes", readyNode(`n${n}`)]);
  for (let n = 0; n < services; n += 1) {
    const service = newService({ name: `s${n}`, mode: { kind: "replicated", replicas: 3 } });
    rows.push(["services", service]);
    for (let slot = 1; slot <= 3; slot += 1) {
      const status = { state: "running", at: 0, message: "", error: "" } as const;
      const place = { slot, nodeId: `n${(3 * n + slot) % nodes}`, status };
      const id = `t${n}-${slot}`;
      rows.push(["tasks", newTask({ id, serviceId: service.id, serviceName: `s${n}`, ...place, runningSince: 0 })]);
    }
  }
  let ids = 0;
  const orchestration = new Orchestration(() => `new${++ids}`);
  let all = Rows.of(0, rows);
  orchestration.note({ snapshot: all, changed: all.keys });
  const change = (changes: readonly (readonly [RowKey, Row | undefined])[]) => {
    all = all.with(changes, all.revision + 1);
    const counting = new Counting(all);
    orchestration.note({ snapshot: counting, changed: changes.map(([key]) => key) });
    return { counting, decisions: orchestration.decide(1000) };
  };
  return { orchestration, change, rows: () => all };
}

describe("of 10,000 services with three tasks each on 100 nodes", () => {
  const { orchestration, change, rows } = world(10_000, 100);
  const isSmall = (counting: Counting, most: number) => {
    for (const table of ["services", "tasks"] as const)
      assert.ok(counting.of(table) <= most, `${counting.of(table)} rows of ${table} were looked at`);
  };
  const task = (id: string) => rows().get("tasks", id) as Task;

  it("who begins to lead looks at all, and has nothing to do", () => assert.deepEqual(orchestration.decide(1000), []));

  it("when one is scaled, that one is looked at", () => {
    const service = newService({ name: "s5", mode: { kind: "replicated", replicas: 4 } });
    const { counting, decisions } = change([[{ table: "services", key: service.id }, service]]);
    assert.deepEqual(
      decisions.map(({ edits }) => edits.map(({ kind }) => kind)),
      [["create", "tell", "place"]],
    );
    isSmall(counting, 6);
  });

  it("when a task fails, its service is", () => {
    const status = { state: "failed", at: 1000, message: "", error: "" } as const;
    const { counting, decisions } = change([
      [{ table: "tasks", key: "t7-1" }, observed(task("t7-1"), { status }, 1000)],
    ]);
    assert.deepEqual(
      decisions.map(({ edits }) => edits.map(({ kind }) => kind)),
      [["stop", "create", "place"]],
    );
    isSmall(counting, 8);
  });

  it("when a node beats, registers again or is renewed, nothing is", () => {
    const node = readyNode("n1", {
      updatedAt: 5,
      certificate: { fingerprint: "", role: "worker", root: "", expiresAt: 9 },
    });
    const { counting, decisions } = change([[{ table: "nodes", key: "n1" }, node]]);
    assert.deepEqual(decisions, []);
    isSmall(counting, 0);
  });

  it("when a node is lost, the services of its tasks are", () => {
    const node = readyNode("n1", { status: { state: "down", message: "", address: "" } });
    const { counting, decisions } = change([[{ table: "nodes", key: "n1" }, node]]);
    assert.equal(decisions.length, 300);
    isSmall(counting, 300 * 5);
  });

  it("when something waits for room, tasks that end elsewhere cost a look at the tasks that wait", () => {
    const reservations = { nanoCpus: 1e12, memory: 0 };
    const service = newService({ name: "huge", task: { ...plainTemplate, reservations } });
    const waiting = newTask({ id: "w", serviceId: service.id, template: service.spec.task });
    change([
      [{ table: "services", key: service.id }, service],
      [{ table: "tasks", key: "w" }, waiting],
    ]);
    const status = { state: "failed", at: 1000, message: "", error: "" } as const;
    const { counting } = change([[{ table: "tasks", key: "t9-1" }, observed(task("t9-1"), { status }, 1000)]]);
    isSmall(counting, 8);
  });
});

it("a task that an update puts in another's place may be on the same node: what is about to stop does not count", () => {
  const { orchestration, change } = world(1, 3);
  orchestration.decide(1000);
  const service = newService({ name: "s0", mode: { kind: "replicated", replicas: 3 } }, { templateVersion: 2 });
  const { decisions } = change([[{ table: "services", key: service.id }, service]]);
  const places = decisions.flatMap(({ edits }) => edits.flatMap((edit) => (edit.kind === "place" ? edit.nodeId : [])));
  assert.deepEqual(places, ["n1"], "slot 1 was there");
});

it("a task that waits for a port of the host has its place when a container gives it back", () => {
  const { orchestration, change } = world(0, 1);
  orchestration.decide(1000);
  const takenPorts = [{ protocol: "tcp", address: "0.0.0.0", port: 8080, container: "c" }];
  const node = (wish: object) => [{ table: "nodes", key: "n0" }, readyNode("n0", wish)] as const;
  const port = { name: "", protocol: "tcp", target: 80, published: 8080, mode: "host" } as const;
  const service = newService({ endpoint: { mode: "vip", ports: [port] } }, { ports: [port] });
  const task = newTask({ serviceId: service.id, slot: 1, hostPorts: [port], desired: "running" });
  const edits = (...changes: Parameters<typeof change>[0]) => change(changes).decisions.flatMap((one) => one.edits);
  const told = edits(
    node({ takenPorts }),
    [{ table: "services", key: service.id }, service],
    [{ table: "tasks", key: task.id }, task],
  );
  const error = "no suitable node (host-mode port already in use on 1 node)";
  assert.deepEqual(told, [{ kind: "explain", id: task.id, error }]);
  const placed = edits(node({}));
  assert.deepEqual(
    placed.map((edit) => edit.kind === "place" && edit.nodeId),
    ["n0"],
  );
});
