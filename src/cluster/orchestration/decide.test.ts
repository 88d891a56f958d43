import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Service, TaskRestart } from "../../model/service.ts";
import { orphanedAfter } from "./tasks.ts";
import { Stage } from "./stage-testing.ts";
import { plainTemplate } from "../task-testing.ts";
import { newService, policy, readyNode } from "./testing.ts";

const replicas = (count: number, restart: Partial<TaskRestart> = {}): Service =>
  newService({
    mode: { kind: "replicated", replicas: count },
    task: { ...plainTemplate, restart: { ...plainTemplate.restart, ...restart } },
  });
const web = "service-web";
const scaled = (count: number) => (spec: Service["spec"]) => ({
  ...spec,
  mode: { kind: "replicated", replicas: count } as const,
});
/** `1@n1`: slot and node of each task that is told to run. */
const running = (stage: Stage) =>
  stage.told.flatMap((line) => / web\.(\S+) running\/running$/.exec(line)?.[1] ?? []).toSorted();

describe("a replicated service", () => {
  it("gets its tasks at once, placed, and told to run", () => {
    const stage = new Stage(["n1", "n2"], [replicas(3)]);
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 assigned/running",
      "t2 web.2@n2 assigned/running",
      "t3 web.3@n1 assigned/running",
    ]);
    assert.equal(stage.task("t1").status.message, "scheduler assigned task to node");
  });

  it("says why a task has no place, and gives it one as soon as there is", () => {
    const stage = new Stage([readyNode("n1", { availability: "pause" })], [replicas(1)]);
    assert.deepEqual(stage.told, ["t1 web.1@- pending/running"]);
    assert.equal(stage.task("t1").status.error, "no suitable node (2 nodes not available for new tasks)");
    stage.node("n1", { availability: "active" });
    assert.deepEqual(stage.told, ["t1 web.1@n1 assigned/running"]);
    assert.equal(stage.task("t1").status.error, "");
  });

  it("is given a place that another task has left", () => {
    const task = { ...plainTemplate, reservations: { nanoCpus: 2e9, memory: 0 } };
    const [a, b] = ["a", "b"].map((name) => newService({ name, task, mode: { kind: "replicated", replicas: 1 } }));
    const stage = new Stage(["n1"], [a as Service]).obey().create(b as Service);
    assert.deepEqual(stage.told, ["t1 a.1@n1 running/running", "t2 b.1@- pending/running"]);
    assert.match(stage.task("t2").status.error, /insufficient resources on 1 node/);
    stage.update("service-a", scaled(0)).obey();
    assert.deepEqual(stage.told, ["t2 b.1@n1 running/running"]);
  });

  it("scaled down, gives up what waits, then what does not run, then the highest slots on the fullest node", () => {
    const stage = new Stage(["n1", "n2"], [replicas(5)]).say("running", ["t1", "t3", "t4", "t5"]); // t1, t3, t5 on n1
    stage.update(web, scaled(4)).obey();
    assert.deepEqual(running(stage), ["1@n1", "2@n2", "3@n1", "4@n2"]);
    stage.update(web, scaled(3)).obey();
    assert.deepEqual(running(stage), ["1@n1", "2@n2", "3@n1"]);
    stage.node("n2", { availability: "pause" }).update(web, scaled(2)).obey();
    assert.deepEqual(running(stage), ["1@n1", "2@n2"]);
    stage.update(web, scaled(0)).obey();
    assert.deepEqual(stage.told, []);
  });

  it("scaled up, fills the lowest slots that are free; in one that is being given up it waits for its end", () => {
    const stage = new Stage(["n1"], [replicas(3)]).obey();
    stage.update(web, scaled(1)).update(web, scaled(3));
    assert.deepEqual(stage.told.slice(-2), ["t4 web.2@n1 assigned/ready", "t5 web.3@n1 assigned/ready"]);
    stage.acknowledge(["t2", "t3"]).say("shutdown", ["t2"]);
    assert.deepEqual(stage.told.slice(-2), ["t4 web.2@n1 assigned/running", "t5 web.3@n1 assigned/ready"]);
  });

  it("removed, its tasks are told to go at once, and their rows go when the nodes have said so", () => {
    const stage = new Stage(["n1", "n2"], [replicas(3)]).obey().remove("services", web);
    assert.deepEqual(
      stage.told.map((line) => line.split(" ")[2]),
      Array(3).fill("running/remove"),
    );
    assert.equal(stage.rows.list("backends").length, 0);
    stage.say("shutdown", ["t1"]).say("remove", ["t2"]);
    assert.deepEqual(stage.told, ["t3 web.3@n1 running/remove"]);
    stage.lose("n1").remove("nodes", "n1");
    assert.deepEqual(stage.told, []);
  });

  it("removed while its node is down, its rows go when the node has been down for a day", () => {
    const stage = new Stage(["n1"], [replicas(1)]).obey().lose("n1").remove("services", web);
    stage.pass(orphanedAfter - 1);
    assert.deepEqual(stage.told, ["t1 web.1@n1 running/remove"]);
    assert.equal(stage.rows.list("backends").length, 1);
    stage.pass(1);
    assert.deepEqual(stage.told, []);
    assert.deepEqual(stage.rows.list("backends"), []);
  });
});

describe("nodes", () => {
  it("that are lost lose their tasks: others follow after the restart delay, without waiting for their end", () => {
    const stage = new Stage(["n1", "n2"], [replicas(2)]).obey().lose("n1");
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 running/shutdown",
      "t2 web.2@n2 running/running",
      "t3 web.1@n2 assigned/ready",
    ]);
    assert.deepEqual(
      stage.rows.list("backends").map(({ taskId, isLost = false }) => ({ taskId, isLost })),
      [
        { taskId: "t1", isLost: true },
        { taskId: "t2", isLost: false },
      ],
    );
    stage.pass(4999);
    assert.equal(stage.task("t3").desired, "ready");
    stage.pass(1);
    assert.equal(stage.task("t3").desired, "running");
  });

  it("that come back end what they had", () => {
    const stage = new Stage(["n1", "n2"], [replicas(1)]).obey().lose("n1").pass(5000).say("running", ["t2"]);
    stage.node("n1", { status: { state: "ready", message: "", address: "", holder: "m1" } });
    assert.deepEqual(stage.told, ["t1 web.1@n1 running/shutdown", "t2 web.1@n2 running/running"]);
    stage.say("running", ["t1"]);
    assert.deepEqual(
      stage.rows.list("backends").map(({ taskId }) => taskId),
      ["t2"],
    );
    stage.say("shutdown", ["t1"]);
    assert.deepEqual(running(stage), ["1@n2"]);
  });

  it("that are removed: their tasks are followed, and taken for ended", () => {
    const stage = new Stage(["n1", "n2"], [replicas(1)]).obey().remove("nodes", "n1");
    assert.deepEqual(stage.told, ["t1 web.1@n1 orphaned/shutdown", "t2 web.1@n2 assigned/ready"]);
  });

  it("that are drained: their tasks are drained, others follow without delay when they have ended", () => {
    const stage = new Stage(["n1", "n2"], [replicas(1)]).obey().node("n1", { availability: "drain" });
    assert.deepEqual(stage.told, ["t1 web.1@n1 running/running draining", "t2 web.1@n2 assigned/ready"]);
    stage.acknowledge(["t1"]);
    assert.equal(stage.task("t1").desired, "shutdown");
    stage.say("shutdown", ["t1"]);
    assert.deepEqual(stage.told, ["t1 web.1@n1 shutdown/shutdown", "t2 web.1@n2 assigned/running"]);
  });

  it("one task waits for the one before it at most so long", () => {
    const stage = new Stage(["n1", "n2"], [replicas(1)])
      .obey()
      .node("n1", { availability: "drain" })
      .acknowledge(["t1"]);
    stage.pass(80_000);
    assert.equal(stage.task("t2").desired, "ready");
    stage.pass(1);
    assert.equal(stage.task("t2").desired, "running");
  });
});

describe("tasks that end", () => {
  it("are followed by others after a delay; so many ended ones are kept for each slot", () => {
    const stage = new Stage(["n1"], [replicas(1)]);
    for (let n = 1; n <= 8; n += 1) {
      stage.say("running", [`t${n}`]).say("failed", [`t${n}`], { error: "task: non-zero exit (1)" });
      assert.equal(stage.task(`t${n}`).desired, "shutdown");
      assert.equal(stage.task(`t${n + 1}`).desired, "ready");
      stage.pass(5000);
    }
    assert.deepEqual(
      stage.told.map((line) => line.split(" ")[0]),
      ["t4", "t5", "t6", "t7", "t8", "t9"],
    );
  });

  it("on-failure: one that has done its work is not followed; an update replaces it all the same", () => {
    const stage = new Stage(["n1"], [replicas(1, { condition: "on-failure" })]).say("complete", ["t1"]);
    assert.deepEqual(stage.told, ["t1 web.1@n1 complete/shutdown"]);
    stage.update(web, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } })).obey();
    assert.deepEqual(stage.told, ["t1 web.1@n1 complete/shutdown old", "t2 web.1@n1 running/running"]);
  });

  it("none: no task is followed, whatever becomes of it", () => {
    const stage = new Stage(["n1", "n2"], [replicas(2, { condition: "none" })]).say("failed", ["t1"]).lose("n2");
    assert.deepEqual(stage.told, ["t1 web.1@n1 failed/shutdown", "t2 web.2@n2 assigned/shutdown"]);
  });

  it("none: scaled down, the slot that is given up does not count while it is drained", () => {
    const stage = new Stage(["n1"], [replicas(3, { condition: "none" })]).obey().update(web, scaled(2));
    assert.deepEqual(
      stage.told.filter((line) => line.includes("draining")),
      ["t3 web.3@n1 running/running draining"],
    );
    stage.node("n1", { labels: { a: "b" } }).update(web, (spec) => ({ ...spec, drain: 1 }));
    assert.equal(stage.told.filter((line) => line.includes("draining")).length, 1);
    stage.update(web, scaled(3));
    assert.equal(stage.told.at(-1), "t4 web.3@n1 assigned/ready");
    stage.acknowledge(["t3"]).pass(1).obey();
    assert.deepEqual(running(stage), ["1@n1", "2@n1", "3@n1"]);
  });

  it("at most so many attempts, also with less history and another leader; a new template begins anew", () => {
    const stage = new Stage(["n1"], [replicas(1, { maxAttempts: 2, delay: 0 })]);
    stage.commit((tx) => {
      const [cluster] = tx.list("clusters");
      if (cluster !== undefined) tx.put("clusters", { ...cluster, spec: { ...cluster.spec, taskHistoryLimit: 0 } });
    });
    for (const id of ["t1", "t2", "t3"]) {
      stage.settle().say("failed", [id]);
      stage.changeLeader();
    }
    assert.deepEqual(
      stage.told.map((line) => line.split(" ")[2]),
      Array(3).fill("failed/shutdown"),
    );
    stage.update(web, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } })).say("failed", ["t4"]);
    assert.equal(stage.told.at(-1), "t5 web.1@n1 assigned/running");
  });

  it("attempts within a window: what was before does not count", () => {
    const stage = new Stage(["n1"], [replicas(1, { maxAttempts: 1, window: 10_000, delay: 0 })]);
    stage.say("failed", ["t1"]).pass(20_000).say("failed", ["t2"]).pass(1000).say("failed", ["t3"]);
    assert.equal(stage.told.at(-1), "t3 web.1@n1 failed/shutdown");
  });

  it("while they wait for their delay: the next one does not come sooner for that", () => {
    const stage = new Stage(["n1"], [replicas(1)]).say("failed", ["t1"]).say("rejected", ["t2"]);
    assert.equal(stage.told.length, 2);
    stage.pass(5000);
    assert.equal(stage.told.at(-1), "t3 web.1@n1 assigned/ready");
    stage.pass(5000);
    assert.equal(stage.told.at(-1), "t3 web.1@n1 assigned/running");
  });

  it("again and again on one node: the next goes elsewhere, though more runs there", () => {
    const busy = newService({ name: "busy", mode: { kind: "replicated", replicas: 6 }, task: placedOn("n2") });
    const stage = new Stage(["n1", "n2"], [busy]).create(replicas(1, { delay: 0 }));
    for (const id of ["t7", "t8", "t9", "t10", "t11"]) stage.say("failed", [id]);
    assert.equal(stage.told.at(-1), "t12 web.1@n2 assigned/running");
  });
});

const placedOn = (id: string) => ({
  ...plainTemplate,
  placement: { ...plainTemplate.placement, constraints: [`node.id==${id}`] },
});

describe("a global service", () => {
  const global = (more: Partial<Service["spec"]> = {}) => newService({ mode: { kind: "global" }, ...more });

  it("gets a task on each node that it fits on, in one step", () => {
    const task = { ...plainTemplate, placement: { ...plainTemplate.placement, constraints: ["node.labels.web==yes"] } };
    const labels = { web: "yes" };
    const stage = new Stage(
      [readyNode("n1", { labels }), readyNode("n2"), readyNode("n3", { labels })],
      [global({ task })],
    );
    assert.deepEqual(stage.told, ["t1 web.0@n1 assigned/running", "t2 web.0@n3 assigned/running"]);
    assert.equal(stage.task("t1").status.message, "scheduler confirmed task can run on preassigned node");
    assert.equal(stage.rows.revision, 1);
    stage.obey().node("n2", { labels }).node("n1", { labels: {} }).obey();
    assert.deepEqual(stage.told, [
      "t1 web.0@n1 shutdown/shutdown",
      "t2 web.0@n3 running/running",
      "t3 web.0@n2 running/running",
    ]);
  });

  it("that fits nowhere has a task that says so, until it does", () => {
    const stage = new Stage(["n1", "n2"], [global({ task: placedOn("n3") })]);
    assert.deepEqual(stage.told, ["t1 web.0@- pending/running"]);
    const { error } = stage.task("t1").status;
    assert.equal(
      error,
      "no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)",
    );
    stage.update(web, (spec) => ({ ...spec, task: { ...placedOn("n4"), forceUpdate: 1 } }));
    assert.deepEqual(stage.told, ["t2 web.0@- pending/running"]);
    assert.equal(
      stage.task("t2").status.error,
      "no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)",
    );
    stage.node("n4", { status: { state: "ready", message: "", address: "", holder: "m1" } });
    assert.deepEqual(stage.told, ["t3 web.0@n4 assigned/running"]);
  });

  it("waits on a node until there is room, and says why", () => {
    const task = { ...plainTemplate, reservations: { nanoCpus: 2e9, memory: 0 } };
    const stage = new Stage(["n1"], [newService({ name: "a", task })]).obey().create(global({ task }));
    assert.equal(stage.told.at(-1), "t2 web.0@n1 pending/running");
    assert.equal(stage.task("t2").status.error, "insufficient resources on 1 node");
    stage.update("service-a", scaled(0)).obey();
    assert.deepEqual(stage.told, ["t2 web.0@n1 running/running"]);
  });

  it("a paused node keeps its task, but gets none; a drained and a lost one end it, and get another when they are back", () => {
    const stage = new Stage(["n1", "n2"], [global()]).obey().node("n1", { availability: "pause" });
    stage.say("failed", ["t1"]).pass(60_000);
    assert.deepEqual(stage.told, ["t1 web.0@n1 failed/shutdown", "t2 web.0@n2 running/running"]);
    stage.node("n1", { availability: "active" }).obey();
    assert.equal(stage.told.at(-1), "t3 web.0@n1 running/running");
    stage.node("n1", { availability: "drain" }).obey();
    assert.equal(stage.told.at(-1), "t3 web.0@n1 shutdown/shutdown");
    stage.lose("n2").node("n2", { status: { state: "ready", message: "", address: "", holder: "m1" } });
    assert.deepEqual(stage.told.slice(-2), ["t3 web.0@n1 shutdown/shutdown", "t5 web.0@n2 assigned/ready"]);
    assert.equal(stage.say("shutdown", ["t2"]).task("t5").desired, "running");
    stage.remove("nodes", "n1");
    assert.ok(!stage.told.some((line) => line.includes("@n1")));
  });
});

describe("jobs", () => {
  const job = (total: number, concurrent: number, more: Partial<Service["spec"]> = {}) =>
    newService({ mode: { kind: "replicated-job", total, concurrent }, ...more });

  it("run so many at once until so many are done; failed ones are repeated", () => {
    const stage = new Stage(["n1"], [job(3, 2)]);
    assert.deepEqual(stage.told, ["t1 web.1@n1 assigned/complete", "t2 web.2@n1 assigned/complete"]);
    stage.say("complete", ["t1"]).say("failed", ["t2"]).pass(5000);
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 complete/complete",
      "t2 web.2@n1 failed/shutdown",
      "t3 web.3@n1 assigned/complete",
      "t4 web.2@n1 assigned/complete",
    ]);
    stage.say("complete", ["t3", "t4"]).pass(60_000);
    assert.equal(stage.told.length, 4);
  });

  it("are not repeated more often than they may", () => {
    const task = { ...plainTemplate, restart: { ...plainTemplate.restart, maxAttempts: 1, delay: 0 } };
    const stage = new Stage(["n1"], [job(1, 1, { task })]).say("failed", ["t1"]).say("failed", ["t2"]).pass(60_000);
    assert.deepEqual(
      stage.told.map((line) => line.split(" ")[2]),
      ["failed/shutdown", "failed/shutdown"],
    );
  });

  it("run again when they are updated; the run before ends first", () => {
    const stage = new Stage(["n1"], [job(2, 1)]).say("complete", ["t1"]);
    stage.update(web, (spec) => spec);
    assert.deepEqual(stage.told, ["t2 web.2@n1 assigned/remove", "t3 web.1@n1 assigned/complete"]);
    stage.say("complete", ["t3"]);
    assert.equal(stage.told.at(-1), "t4 web.2@n1 assigned/ready");
    assert.deepEqual(stage.say("shutdown", ["t2"]).told.slice(-1), ["t4 web.2@n1 assigned/complete"]);
  });

  it("global ones run once on each node, also on one that comes later", () => {
    const stage = new Stage(["n1", "n2"], [newService({ mode: { kind: "global-job" } })]).say("complete", ["t1"]);
    stage
      .lose("n2")
      .create()
      .node("n3", { status: { state: "ready", message: "", address: "", holder: "m1" } });
    assert.deepEqual(stage.told, [
      "t1 web.0@n1 complete/complete",
      "t2 web.0@n2 assigned/shutdown",
      "t3 web.0@n3 assigned/complete",
    ]);
    stage.node("n2", { status: { state: "ready", message: "", address: "", holder: "m1" } }).say("shutdown", ["t2"]);
    assert.equal(stage.told.at(-1), "t4 web.0@n2 assigned/complete");
  });
});

describe("draining", () => {
  const drained = (drain: number) => ({ ...replicas(1), spec: { ...replicas(1).spec, drain } });
  const give = (stage: Stage) => stage.update(web, scaled(0));

  it("takes the backends away first; the task is told when the drain time is over since all have acknowledged that", () => {
    const stage = give(new Stage(["n1"], [drained(3000)]).obey());
    assert.deepEqual(stage.told, ["t1 web.1@n1 running/running draining"]);
    assert.equal(stage.rows.list("backends").length, 0);
    stage.say("running", ["t1"], { message: "healthy" });
    assert.equal(stage.rows.list("backends").length, 0);
    stage.pass(2000).acknowledge(["t1"]).changeLeader();
    stage.pass(2999);
    assert.equal(stage.task("t1").desired, "running");
    stage.pass(1);
    assert.equal(stage.task("t1").desired, "remove");
  });

  it("waits for acknowledgements for 10 s more at most, and goes on under another leader", () => {
    const stage = give(new Stage(["n1"], [drained(3000)]).obey()).pass(12_000);
    stage.changeLeader();
    assert.equal(stage.pass(999).task("t1").desired, "running");
    assert.equal(stage.pass(1).task("t1").desired, "remove");
  });

  it("waits for all managers at work, and for nodes that none of them has", () => {
    const stage = new Stage(["n1", "n2"], [drained(0)]).obey();
    const manager = { address: "", reachability: "reachable", leader: false, memberId: "2" } as const;
    stage.node("m2", { role: "manager", manager, availability: "drain" });
    const told = () => give(stage).acknowledge(["t1"]).task("t1").desired;
    assert.equal(told(), "running");
    stage.node("n2", { status: { state: "ready", message: "", address: "", holder: "m2" } }).lose("m2");
    assert.equal(stage.task("t1").desired, "running");
    stage.node("n2", { status: { state: "ready", message: "", address: "", holder: "m1" } });
    assert.equal(stage.task("t1").desired, "remove");
  });

  it("is over when the task ends, or its node is lost", () => {
    for (const end of [(s: Stage) => s.say("failed", ["t1"]), (s: Stage) => s.lose("n1")]) {
      const stage = give(new Stage(["n1"], [drained(60_000)]).obey());
      assert.match(end(stage).told[0] ?? "remove", /remove/);
    }
  });

  it("is not for tasks that take no connections", () => {
    const stage = give(new Stage(["n1"], [drained(60_000)]));
    assert.deepEqual(stage.told, ["t1 web.1@n1 assigned/remove"]);
  });
});

it("a slot that is filled again by another update than began to empty it has one task", () => {
  const spec = {
    update: { ...policy, order: "start-first" as const },
    mode: { kind: "replicated", replicas: 1 } as const,
  };
  const stage = new Stage(["n1", "n2"], [newService(spec)]).obey();
  for (const id of ["n2", "n1"]) stage.update(web, (old) => ({ ...old, task: placedOn(id) }));
  stage.obey().pass(60_000).obey();
  assert.deepEqual(running(stage), ["1@n1"]);
});
