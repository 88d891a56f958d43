import { type ClusterNode, observed } from "../../model/cluster.ts";
import type { AddressPool } from "../../model/address-pool.ts";
import { plainSpec } from "../../model/network.ts";
import { isDraining } from "./draining.ts";
import type { Service, Task, TaskState, TaskStatus } from "../../model/service.ts";
import { type Row, Rows, RowsTransaction } from "../../store/rows.ts";
import type { RowKey, Transaction } from "../../store/store.ts";
import type { TableName } from "../../store/tables.ts";
import { changeService } from "../services.ts";
import { newCluster } from "../testing.ts";
import { carryOut } from "./edits.ts";
import { observe } from "./observe.ts";
import { Orchestration } from "./orchestration.ts";
import { newService, readyNode } from "./testing.ts";

const cluster = newCluster();
const networkId = "net";

const poolOf = (subnet: string): AddressPool => ({
  ...{ id: "pool", networkId, subnet, range: subnet, gateway: "", userSubnet: true },
});

/** Rows and a leader that does what it decides at once; nodes say what the test says. Times are milliseconds. */
export class Stage {
  now = 0;
  rows: Rows;
  #leader: Orchestration;
  #changed = new Map<string, RowKey>();
  readonly #again = new Map<string, number>();
  #ids = 0;

  /** @param subnet of the network; absent: it has no end */
  constructor(nodes: readonly (string | ClusterNode)[], services: readonly Service[] = [], subnet?: string) {
    const network = { id: networkId, scope: "cluster", pools: ["pool"], predefined: false, createdAt: "" } as const;
    const manager = { address: "", reachability: "reachable", leader: true, memberId: "1" } as const;
    const m1 = readyNode("m1", { role: "manager", manager, availability: "drain" });
    const all = [m1, ...nodes.map((node) => (typeof node === "string" ? readyNode(node) : node))];
    const rows: (readonly [TableName, Row])[] = [
      ["clusters", cluster],
      ["networks", { ...network, spec: { ...plainSpec, name: "net", driver: "overlay" } }],
      ...all.map((node) => ["nodes", node] as const),
      ...services.map((service) => ["services", service] as const),
      ...(subnet === undefined ? [] : [["pools", poolOf(subnet)] as const]),
    ];
    this.rows = Rows.of(0, rows);
    this.#leader = new Orchestration(() => this.#newId());
    this.#leader.note({ snapshot: this.rows, changed: this.rows.keys });
    this.settle();
  }

  #newId = () => `t${++this.#ids}`;

  /** Another leader begins. */
  changeLeader(): void {
    this.#leader = new Orchestration(this.#newId);
    this.#leader.note({ snapshot: this.rows, changed: this.rows.keys });
    this.#changed.clear();
    this.#again.clear();
    this.settle();
  }

  commit(change: (tx: Transaction) => unknown): void {
    const tx = new RowsTransaction(this.rows);
    change(tx);
    const changes = tx.changes();
    this.rows = this.rows.with(changes, this.rows.revision + 1);
    for (const [key] of changes) this.#changed.set(`${key.table}/${key.key}`, key);
  }

  /** Decides until there is nothing to do. */
  settle(): this {
    for (let rounds = 0; rounds === 0 || this.#changed.size > 0; rounds += 1) {
      if (rounds > 50) throw new Error("it does not settle");
      this.#leader.note({ snapshot: this.rows, changed: [...this.#changed.values()] });
      this.#changed.clear();
      for (const decision of this.#leader.decide(this.now)) {
        this.commit((tx) => carryOut(tx, decision, this.now));
        this.#again.delete(decision.serviceId);
        if (decision.again !== undefined) this.#again.set(decision.serviceId, decision.again);
      }
    }
    return this;
  }

  /** Time goes on; the leader looks whenever it has said so. */
  pass(milliseconds: number): this {
    const end = this.now + milliseconds;
    for (;;) {
      const [service, at] = [...this.#again].toSorted(([, a], [, b]) => a - b)[0] ?? ["", Infinity];
      if (at > end) break;
      this.now = Math.max(this.now, at);
      this.#again.delete(service);
      this.#leader.look(service);
      this.settle();
    }
    this.now = end;
    return this;
  }

  get #tasks(): readonly Task[] {
    return this.rows.list("tasks").toSorted((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
  }
  task(id: string): Task {
    const task = this.rows.get("tasks", id);
    if (task === undefined) throw new Error(`there is no task ${id}`);
    return task;
  }

  /** A node says how tasks of it are. */
  say(state: TaskState, ids: readonly string[], more: Partial<TaskStatus> = {}): this {
    for (const id of ids)
      this.commit((tx) => {
        const { nodeId = "", slot } = this.task(id);
        const address = `10.0.0.${id.slice(1)}`;
        tx.put("claims", { pool: "pool", address, kind: "endpoint", owner: id });
        tx.put("peers", {
          ...{ id, networkId, containerId: id, containerName: `web.${slot}`, nodeId, hostname: nodeId },
          ...{ dataPath: "", mac: "", addresses: [], names: [] },
        });
        const attachments = [{ network: networkId, addresses: [{ address, prefix: 24 }] }];
        observe(tx, nodeId, id, { status: { state, at: 0, message: "", error: "", ...more }, attachments }, this.now);
      });
    return this.settle();
  }
  /** Every task that is told to run does; those that are told to stop have stopped; all that are drained are acknowledged. */
  obey(): this {
    for (let rounds = 0; rounds < 20; rounds += 1) {
      const ids = (is: (task: Task) => boolean) => this.#tasks.filter(is).map(({ id }) => id);
      const starting = ids(
        ({ status, desired, nodeId }) => nodeId !== undefined && status.state === "assigned" && desired === "running",
      );
      const stopping = ids(
        ({ status, desired }) => ["assigned", "running"].includes(status.state) && desired === "shutdown",
      );
      const removed = ids(
        ({ status, desired }) => ["assigned", "running"].includes(status.state) && desired === "remove",
      );
      const draining = ids(isDraining);
      if ([...starting, ...stopping, ...removed, ...draining].length === 0) break;
      this.acknowledge(draining);
      this.say("running", starting).say("shutdown", [...stopping, ...removed]);
    }
    return this;
  }
  acknowledge(tasks: readonly string[]): this {
    this.commit((tx) => {
      if (tasks.length > 0) tx.put("acknowledgements", { managerId: "m1", tasks });
      else tx.delete("acknowledgements", "m1");
    });
    return this.settle();
  }

  node(id: string, change: Partial<ClusterNode>): this {
    this.commit((tx) => tx.put("nodes", observed(tx.get("nodes", id) ?? readyNode(id), change, this.now)));
    return this.settle();
  }
  lose(id: string): this {
    return this.node(id, { status: { state: "down", message: "", address: "" } });
  }
  remove(table: TableName, id: string): this {
    this.commit((tx) => tx.delete(table, id));
    return this.settle();
  }
  update(id: string, change: (spec: Service["spec"]) => Service["spec"]): this {
    this.commit((tx) => {
      const service = tx.get("services", id);
      if (service !== undefined) changeService(tx, service, change(service.spec), this.now);
    });
    return this.settle();
  }
  create(...services: readonly Service[]): this {
    this.commit((tx) => services.forEach((service) => tx.insert("services", service)));
    return this.settle();
  }
  service(id = newService().id): Service {
    const service = this.rows.get("services", id);
    if (service === undefined) throw new Error(`there is no service ${id}`);
    return service;
  }

  /** All tasks, `t1 web.1@n1 running/running`: slot, node, how it is and what it is told; outdated ones with their template. */
  get told(): string[] {
    return this.#tasks.map((task) => {
      const { templateVersion } = this.rows.get("services", task.serviceId) ?? task;
      const old = task.templateVersion === templateVersion ? "" : " old";
      const drains = isDraining(task) ? " draining" : "";
      const place = `${task.serviceName}.${task.slot}@${task.nodeId ?? "-"}`;
      return `${task.id} ${place} ${task.status.state}/${task.desired}${old}${drains}`;
    });
  }
}
