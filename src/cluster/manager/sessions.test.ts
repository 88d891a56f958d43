import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ClusterNode, type PublicCluster, revised } from "../../model/cluster.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { refusingStore } from "../../store/refusing-testing.ts";
import type { Store } from "../../store/store.ts";
import { clusterIn } from "../certificates.ts";
import { Availability, Role } from "../gen/control_pb.ts";
import { newSwarmId } from "../identity/names.ts";
import { Sessions, type SessionsParts } from "./sessions.ts";
import { clientOf, Worker } from "./sessions-testing.ts";
import { newCluster, newNode } from "../testing.ts";

/** A clock that stands still until it is moved. */
class Clock {
  #now = 0;
  readonly #calls = new Set<{ readonly at: number; readonly call: () => void }>();
  readonly now = () => this.#now;
  readonly after = (milliseconds: number, call: () => void) => {
    const one = { at: this.#now + milliseconds, call };
    this.#calls.add(one);
    return () => void this.#calls.delete(one);
  };
  /** In steps of a second; what is called has its time to be done. */
  async pass(milliseconds: number): Promise<void> {
    for (const end = this.#now + milliseconds; this.#now < end; ) {
      this.#now = Math.min(end, this.#now + 1000);
      for (const one of Array.from(this.#calls))
        if (one.at <= this.#now) {
          this.#calls.delete(one);
          one.call();
        }
      await settled();
    }
  }
}
async function settled() {
  for (let n = 0; n < 20; n++) await turn();
}

async function manager(count: number, wish: Partial<SessionsParts> = {}, store: Store = createMemoryStore()) {
  const clock = new Clock();
  const nodes = Array.from({ length: count }, () => newNode());
  await store.update((tx) => {
    if (tx.list("clusters").length === 0) tx.insert("clusters", newCluster());
    for (const node of nodes) tx.insert("nodes", node);
  });
  const failures: unknown[] = [];
  const self = newSwarmId();
  const parts = { store, self, now: clock.now, after: clock.after, failed: (e: unknown) => failures.push(e), ...wish };
  const sessions = new Sessions(parts);
  const end = new AbortController();
  const running = sessions.run(end.signal);
  const row = (id: string) => store.snapshot().get("nodes", id);
  const change = async (id: string, how: Partial<ClusterNode>) => {
    await store.update((tx) => tx.put("nodes", revised(tx.get("nodes", id) as ClusterNode, how, clock.now())));
    await settled();
  };
  const open = async (id: string) => {
    const worker = new Worker(clientOf(sessions, id));
    await settled();
    return worker;
  };
  const stop = async () => {
    end.abort();
    await running;
  };
  return { store, clock, sessions, ids: nodes.map(({ id }) => id), row, change, open, stop, failures, self };
}

describe("what a node gets", () => {
  it("its period, the managers, its standing, then its rows and no others, without secrets", async () => {
    const m = await manager(3);
    const [id = "", other = ""] = m.ids;
    await m.change(other, {
      role: "manager",
      manager: { address: "192.0.2.1:2377", reachability: "reachable", leader: true, memberId: "1" },
    });
    const worker = await m.open(id);
    const [registered, managers, standing, changes] = worker.received;
    assert.deepEqual(
      [registered?.case, registered?.case === "registered" && registered.value.period],
      ["registered", 5000],
    );
    assert.deepEqual(managers?.case === "managers" && managers.value.managers.map((m) => m.address), [
      "192.0.2.1:2377",
    ]);
    assert.ok(standing?.case === "standing");
    assert.deepEqual([standing.value.role, standing.value.availability], [Role.WORKER, Availability.ACTIVE]);
    assert.ok(changes?.case === "changes" && changes.value.snapshot && !changes.value.more);
    const cluster = clusterIn(m.store.snapshot());
    const rows = worker.rows() as [string, string, PublicCluster][];
    const own = new Set(rows.map(([table, key]) => `${table}/${key}`));
    assert.deepEqual(own, new Set([`clusters/${cluster.id}`, `nodes/${id}`]));
    assert.ok(!JSON.stringify(rows).includes("PRIVATE KEY"));
    assert.ok(!JSON.stringify(rows).includes(cluster.tokens.worker));
    await m.stop();
  });

  it("changes of its own row in order, its role and availability by themselves, nothing of others", async () => {
    const m = await manager(2);
    const [id = "", other = ""] = m.ids;
    const [worker, uninterested] = [await m.open(id), await m.open(other)];
    for (const one of [worker, uninterested]) one.received.length = 0;
    for (const label of ["a", "b", "c"]) await m.change(id, { labels: { label } });
    await m.change(id, { availability: "drain" });
    const standing = worker.received.filter((b) => b.case === "standing");
    assert.deepEqual(
      standing.map((b) => b.value.availability),
      [Availability.DRAIN],
    );
    const labels = worker.rows().map((row) => (row as [string, string, ClusterNode])[2].labels["label"]);
    assert.deepEqual(labels, ["a", "b", "c", "c"]);
    assert.deepEqual(uninterested.received, []);
    await m.stop();
  });

  it("of many changes that it is too slow for, the latest of each row", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const worker = await m.open(id);
    worker.received.length = 0;
    await Promise.all(Array.from({ length: 100 }, (_, n) => m.change(id, { labels: { n: `${n}` } })));
    const rows = worker.rows() as [string, string, ClusterNode][];
    assert.ok(rows.length < 100);
    assert.equal(rows.at(-1)?.[2].labels["n"], "99");
    await m.stop();
  });

  it("the end, when it is removed, or when it does not register first", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const worker = await m.open(id);
    await m.store.update((tx) => tx.delete("nodes", id));
    await assert.rejects(worker.ended, /was removed from the swarm/);
    await assert.rejects((await m.open(id)).ended, /was removed from the swarm/);
    const client = clientOf(m.sessions, id);
    const beats = (async function* () {
      yield { body: { case: "beat" as const, value: {} } };
    })();
    await assert.rejects(Array.fromAsync(client.session(beats)), /must begin with a registration/);
    await m.stop();
  });
});

describe("a node's tunnel address", () => {
  it("is refused when it is another node's, unless the stream comes from there", async () => {
    const m = await manager(2);
    const [id = "", other = ""] = m.ids;
    await m.open(other);
    const thief = new Worker(clientOf(m.sessions, id, "", "192.0.2.66"));
    await assert.rejects(thief.ended, new RegExp(`data path address 192.0.2.2 is node ${other}'s`));
    assert.equal(m.row(id)?.status.state, "unknown");
    await m.open(id);
    assert.equal(m.row(id)?.status.state, "ready");
    await m.stop();
  });

  it("has nothing of a node that is down by saying that it is at its address; a host that came as another node gives back what it had", async () => {
    const m = await manager(3);
    const [gone = "", thief = "", same = ""] = m.ids;
    await m.change(gone, { status: { state: "down", message: "", address: "192.0.2.2" } });
    await m.store.update((tx) => {
      tx.insert("peers", {
        id: "e1",
        networkId: "n1",
        containerId: "c1",
        containerName: "c1",
        nodeId: gone,
        hostname: "h1",
        dataPath: "192.0.2.2",
        mac: "02:00:00:00:00:01",
        addresses: [],
        names: [],
      });
    });
    const peers = () => m.store.snapshot().list("peers").length;
    new Worker(clientOf(m.sessions, thief, "", "192.0.2.66")).ended.catch(() => {});
    await settled();
    assert.equal(peers(), 1);
    await m.change(thief, { status: { state: "down", message: "", address: "192.0.2.66" } });
    await m.open(same);
    assert.equal(peers(), 0);
    await m.stop();
  });
});

describe("what a node says of its host", () => {
  it("is forgotten when it says so no more; who has left had those addresses, and that balancer", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const said = {
      hostAddresses: ["192.0.2.2"],
      balancer: "ipvs",
      takenPorts: [{ protocol: "tcp", address: "0.0.0.0", port: 80 }],
      routes: [{ to: "10.0.0.0/8", link: "eth0" }],
    };
    const known = () => {
      const { hostAddresses, balancer, takenPorts, routes } = m.row(id) ?? {};
      return { hostAddresses, balancer, takenPorts, routes };
    };
    const none = { hostAddresses: undefined, balancer: undefined, takenPorts: undefined, routes: undefined };
    await m.change(id, said);
    (await m.open(id)).end();
    assert.deepEqual(known(), none);
    await m.change(id, said);
    await m.sessions.leave(id);
    assert.deepEqual(known(), { ...none, hostAddresses: ["192.0.2.2"], balancer: "ipvs" });
    await m.stop();
  });
});

describe("a node's state", () => {
  it("is ready when it registers, down 15 s after its last beat, ready again with the next", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const worker = await m.open(id);
    assert.deepEqual(m.row(id)?.status.state, "ready");
    assert.deepEqual([m.row(id)?.status.address, m.row(id)?.hostname], ["192.0.2.2", "h2"]);
    for (let n = 0; n < 5; n++) {
      await m.clock.pass(5000);
      worker.beat();
      await settled();
    }
    await m.clock.pass(14_000);
    assert.equal(m.row(id)?.status.state, "ready");
    await m.clock.pass(1000);
    assert.deepEqual([m.row(id)?.status.state, m.row(id)?.status.message], ["down", "heartbeat failure"]);
    worker.beat();
    await settled();
    assert.equal(m.row(id)?.status.state, "ready");
    await m.clock.pass(15_000);
    assert.equal(m.row(id)?.status.state, "down");
    await m.stop();
  });

  it("goes by the stream that came last, here or at another manager", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const other = await manager(0, {}, m.store);
    const first = await m.open(id);
    await m.clock.pass(10_000);
    const second = await m.open(id);
    await first.ended;
    await m.clock.pass(10_000);
    assert.equal(m.row(id)?.status.state, "ready");
    second.end();
    await other.open(id);
    assert.equal(m.row(id)?.status.holder, other.self);
    await m.clock.pass(20_000);
    assert.equal(m.row(id)?.status.state, "ready");
    await other.clock.pass(15_000);
    assert.equal(m.row(id)?.status.state, "down");
    await Promise.all([m.stop(), other.stop()]);
  });

  it("is watched by the leader when its manager is gone, and by the manager that starts again", async () => {
    for (const again of [false, true]) {
      const m = await manager(2);
      const [id = "", back = ""] = m.ids;
      const lost = [await m.open(id), await m.open(back)];
      await m.stop();
      for (const one of lost) one.end();
      const leader = await manager(0, again ? { self: m.self } : {}, m.store);
      if (!again) leader.sessions.inherit((holder) => holder === m.self);
      await leader.clock.pass(14_000);
      const worker = await leader.open(back);
      await leader.clock.pass(2000);
      assert.deepEqual([m.row(id)?.status.state, m.row(back)?.status.state], ["down", "ready"]);
      worker.end();
      await leader.stop();
    }
  });

  it("follows the period that the cluster has, which open streams are told", async () => {
    const m = await manager(1);
    const [id = ""] = m.ids;
    const worker = await m.open(id);
    worker.received.length = 0;
    await m.store.update((tx) => {
      const cluster = clusterIn(tx);
      tx.put("clusters", revised(cluster, { spec: { ...cluster.spec, heartbeatPeriod: 20_000 } }, 0));
    });
    await settled();
    assert.ok(worker.received.some((b) => b.case === "registered" && b.value.period === 20_000));
    await m.clock.pass(59_000);
    assert.equal(m.row(id)?.status.state, "ready");
    await m.clock.pass(1000);
    assert.equal(m.row(id)?.status.state, "down");
    await m.stop();
  });

  it("is written when the store can be written again", async () => {
    const store = createMemoryStore();
    let refusal: Error | undefined;
    const m = await manager(
      1,
      {},
      refusingStore(store, () => refusal),
    );
    const [id = ""] = m.ids;
    await m.open(id);
    refusal = new Error("no quorum");
    await m.clock.pass(20_000);
    assert.equal(m.row(id)?.status.state, "ready");
    assert.ok(m.failures.length > 1);
    refusal = undefined;
    await m.clock.pass(2000);
    assert.equal(m.row(id)?.status.state, "down");
    await m.stop();
  });
});

it("1,000 workers register in less than 30 s; a changed row reaches all of them in less than a second", (t) => {
  // In a process of its own: the test runner follows every promise, and there are millions.
  const simulation = fileURLToPath(new URL("simulation-testing.ts", import.meta.url));
  const text = execFileSync(process.execPath, [simulation, "1000"], { encoding: "utf8" });
  const figures = JSON.parse(text) as Record<"registered" | "changed" | "ready" | "uninterested", number>;
  t.diagnostic(text.trim());
  assert.ok(figures.registered < 30_000 && figures.changed < 1000, text);
  assert.deepEqual([figures.ready, figures.uninterested], [1000, 0]);
});
