import { claimAddress } from "../../../ipam/claim.ts";
import type { AddressPool } from "../../../model/address-pool.ts";
import type { ClusterNode, NodeId } from "../../../model/cluster.ts";
import { observed, revised } from "../../../model/cluster.ts";
import {
  hasEnded,
  type Service,
  type ServiceId,
  type ServiceSpec,
  type Task,
  type TaskId,
} from "../../../model/service.ts";
import { plainSpec } from "../../../model/network.ts";
import { type Change, Rows, RowsTransaction } from "../../../store/rows.ts";
import type { RowKey, Transaction } from "../../../store/store.ts";
import { keepOnly } from "../../attachments.ts";
import { changeService, closeService, rollBackService } from "../../services.ts";
import { newCluster } from "../../testing.ts";
import { isDraining } from "../draining.ts";
import { carryOut, type Decision } from "../edits.ts";
import { Orchestration } from "../orchestration.ts";
import { newService, readyNode, seeded } from "../testing.ts";
import { Clock } from "./clock-testing.ts";
import { check } from "./invariants-testing.ts";
import { ModelNode } from "./model-node-testing.ts";

export const network = "network-1";
const cluster = newCluster();

/** Rows, a leader, nodes, and what happens to them, all by one seed. */
export class World {
  readonly clock = new Clock();
  readonly random: () => number;
  readonly pool: AddressPool;
  readonly nodes = new Map<NodeId, ModelNode>();
  rows: Rows;
  /** While true, messages take long, and containers fail. */
  isSlow = false;
  isQuiet = false;
  #leader = new Orchestration(() => this.#newId());
  /** Changed since the leader took note. */
  #news = new Map<string, RowKey>();
  /** Of the leader: one that is followed by another does nothing any more. */
  #term = 0;
  #isLeading = false;
  #isWorking = false;
  #ids = 0;

  constructor(seed: number, nodes: number) {
    this.random = seeded(seed);
    // In some worlds there are fewer addresses than tasks.
    const subnet = seed % 3 === 0 ? "10.0.0.0/29" : "10.0.0.0/16";
    this.pool = { id: "pool", networkId: network, subnet, range: subnet, gateway: "", userSubnet: true };
    const rows = Array.from({ length: nodes }, (_, n) => nodeRow(`n${n + 1}`, n === 0));
    for (const { id } of rows) this.nodes.set(id, new ModelNode(id, this));
    this.rows = Rows.of(0, [
      ["clusters", cluster],
      [
        "networks",
        {
          id: network,
          scope: "cluster",
          spec: { ...plainSpec, name: "net", driver: "overlay" },
          pools: ["pool"],
          predefined: false,
          createdAt: "",
        },
      ],
      ["pools", this.pool],
      ...rows.map((row) => ["nodes", row] as const),
    ]);
    this.#lead();
  }

  between(least: number, most: number): number {
    return Math.floor(least + this.random() * (most - least));
  }
  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.random() * list.length)];
  }
  #newId(): string {
    this.#ids += 1;
    return `t${this.#ids}`;
  }

  /** One transaction; what must always hold is checked. */
  commit<R>(change: (tx: Transaction) => R): R {
    const before = this.rows;
    const tx = new RowsTransaction(before);
    const result = change(tx);
    const changes = tx.changes();
    if (changes.length === 0) return result;
    this.rows = before.with(changes, before.revision + 1);
    check(before, this, changes);
    for (const [key] of changes) this.#news.set(`${key.table}/${key.key}`, key);
    for (const node of concerned(before, changes)) this.nodes.get(node)?.tell();
    if (changes.some(([{ table }]) => table === "tasks")) this.#acknowledge();
    this.#wake();
    return result;
  }

  /** The leader looks, a moment after something has changed. */
  #wake(): void {
    if (this.#isWorking || !this.#isLeading) return;
    this.#isWorking = true;
    const term = this.#term;
    this.clock.after(this.between(0, 30), () => {
      if (term === this.#term) this.#work();
    });
  }

  /** What it decides is carried out one after the other, while others write too. */
  #work(): void {
    this.#take();
    const decisions = this.#leader.decide(this.clock.now);
    for (const { again, serviceId } of decisions) if (again !== undefined) this.#lookAt(serviceId, again);
    this.#carryOut(decisions.filter(({ edits }) => edits.length > 0));
  }

  #take(): void {
    if (this.#news.size === 0) return;
    this.#leader.note({ snapshot: this.rows, changed: [...this.#news.values()] });
    this.#news.clear();
  }

  #carryOut([first, ...others]: readonly Decision[]): void {
    const term = this.#term;
    if (first === undefined) {
      this.#isWorking = false;
      if (this.#news.size > 0) this.#wake();
      return;
    }
    this.clock.after(this.random() < 0.5 ? 0 : this.between(0, 20), () => {
      if (term !== this.#term) return;
      if (!this.commit((tx) => carryOut(tx, first, this.clock.now))) this.#leader.drop(first);
      this.#carryOut(others);
    });
  }

  #lookAt(service: ServiceId, at: number): void {
    const term = this.#term;
    this.clock.after(Math.max(at - this.clock.now, 0), () => {
      if (term !== this.#term) return;
      this.#leader.look(service);
      this.#wake();
    });
  }

  /** The leader is gone, whatever it was about to do; after a while another one begins. */
  changeLeader(): void {
    this.#term += 1;
    this.#isLeading = false;
    const term = this.#term;
    this.clock.after(this.between(0, 8000), () => {
      if (term === this.#term) this.#lead();
    });
  }

  #lead(): void {
    this.#leader = new Orchestration(() => this.#newId());
    this.#leader.note({ snapshot: this.rows, changed: this.rows.keys });
    this.#news.clear();
    [this.#isLeading, this.#isWorking] = [true, false];
    this.#wake();
  }

  /**
   * What a leader that began now would do: nothing, when all is as it should be. Why a task can not be on a node may have
   * become another reason since it was said.
   */
  leftToDo(): readonly Decision[] {
    const leader = new Orchestration(() => this.#newId());
    leader.note({ snapshot: this.rows, changed: this.rows.keys });
    return leader.decide(this.clock.now).filter(({ edits }) => edits.some(({ kind }) => kind !== "explain"));
  }
  get rooms() {
    this.#take();
    return this.#leader.rooms;
  }

  /** The manager says, some time later, which tasks get no connections any more; now and then much later. */
  #acknowledge(): void {
    const draining = this.rows.list("tasks").filter(isDraining);
    const known = this.rows.get("acknowledgements", "n1")?.tasks ?? [];
    if (draining.length === known.length && draining.every(({ id }) => known.includes(id))) return;
    const milliseconds = this.isSlow && this.random() < 0.1 ? 15_000 : this.between(5, 300);
    const more = new Set(draining.map(({ id }) => id));
    this.clock.after(milliseconds, () =>
      this.commit((tx) => {
        const said = tx.get("acknowledgements", "n1")?.tasks ?? [];
        const left = tx
          .list("tasks")
          .filter((task) => isDraining(task) && (more.has(task.id) || said.includes(task.id)));
        if (left.length === 0) tx.delete("acknowledgements", "n1");
        else tx.put("acknowledgements", { managerId: "n1", tasks: left.map(({ id }) => id) });
      }),
    );
  }

  /** A node claims an address for a task, once. @throws {EngineError} when there is none */
  attach(tx: Transaction, node: NodeId, task: TaskId): Task["attachments"] {
    if (tx.get("peers", task) === undefined)
      tx.put("peers", peerOf(node, task, claimAddress(tx, this.pool, undefined, task)));
    return [{ network, addresses: tx.get("peers", task)?.addresses ?? [] }];
  }

  setNode(id: NodeId, change: Partial<ClusterNode["status"]>): void {
    this.commit((tx) => {
      const row = tx.get("nodes", id);
      if (row !== undefined) tx.put("nodes", observed(row, { status: { ...row.status, ...change } }, this.clock.now));
    });
  }
  changeNode(id: NodeId, change: Partial<ClusterNode>): void {
    this.commit((tx) => {
      const row = tx.get("nodes", id);
      if (row !== undefined) tx.put("nodes", revised(row, change, this.clock.now));
    });
  }
  /** As `docker node rm`: of one that is down. */
  removeNode(id: NodeId): void {
    this.nodes.get(id)?.cut(true);
    this.nodes.delete(id);
    this.commit((tx) => {
      keepOnly(tx, id, new Set());
      tx.delete("nodes", id);
    });
  }

  create(wish: Partial<ServiceSpec>): void {
    this.#ids += 1;
    const id = `s${this.#ids}`;
    this.commit((tx) => tx.insert("services", newService(wish, { id })));
  }
  update(id: ServiceId, change: (spec: ServiceSpec) => ServiceSpec): void {
    this.#with(id, (tx, service) => changeService(tx, service, change(service.spec), this.clock.now));
  }
  rollBack(id: ServiceId): void {
    const why = { message: "manually requested rollback", byUser: true };
    this.#with(id, (tx, service) => service.previous && rollBackService(tx, service, why, this.clock.now));
  }
  removeService(id: ServiceId): void {
    this.#with(id, closeService);
  }
  #with(id: ServiceId, change: (tx: Transaction, service: Service) => unknown): void {
    this.commit((tx) => {
      const service = tx.get("services", id);
      if (service !== undefined) change(tx, service);
    });
  }

  /** A container was started in a slot: nobody else may be there, but where an update starts first. */
  started(slot: string): void {
    const all = [...this.nodes.values()].flatMap((node) => [...node.containers.values()]);
    const there = all.filter((one) => one.slot === slot && !one.isStray && isAtWork(one.state));
    const [serviceId = ""] = slot.split(" ");
    const spec = this.rows.get("services", serviceId)?.spec;
    const startsFirst = spec === undefined || [spec.update, spec.rollback].some(({ order }) => order === "start-first");
    if (there.length > (startsFirst ? 2 : 1)) throw new Error(`${there.length} containers run in slot ${slot}`);
  }

  fails(task: Task, when: "prepare" | "start" | "run"): boolean {
    if (task.template.container.image === "bad") return when !== "prepare";
    return !this.isQuiet && this.random() < { prepare: 0.03, start: 0.05, run: 0.15 }[when];
  }
}

const isAtWork = (state: Task["status"]["state"]) => ["starting", "running"].includes(state) && !hasEnded(state);

/** The first node is the manager, and has their streams. */
const nodeRow = (id: NodeId, isManager: boolean): ClusterNode =>
  readyNode(id, {
    status: { state: "ready", message: "", address: "192.0.2.9", holder: "n1" },
    labels: { zone: id === "n2" ? "b" : "a" },
    ...(isManager && {
      role: "manager",
      manager: { address: "", reachability: "reachable", leader: true, memberId: "1" },
    }),
  });

const peerOf = (nodeId: NodeId, task: TaskId, address: string) => ({
  ...{ id: task, networkId: network, containerId: task, containerName: task, nodeId, hostname: nodeId },
  ...{ dataPath: "192.0.2.9", mac: "", addresses: [{ address, prefix: 16 }], names: [] },
});

/** The nodes whose tasks have changed. */
const concerned = (before: Rows, changes: readonly Change[]): Set<NodeId> =>
  new Set(
    changes.flatMap(([{ table, key }, row]) => {
      if (table !== "tasks") return [];
      const task = (row ?? before.get("tasks", key)) as Task | undefined;
      return task?.nodeId ?? [];
    }),
  );
