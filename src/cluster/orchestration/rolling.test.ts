import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Service, UpdatePolicy } from "../../model/service.ts";
import { rollBackService } from "../services.ts";
import { Stage } from "./stage-testing.ts";
import { newService, policy } from "./testing.ts";

const web = "service-web";
const service = (replicas: number, update: Partial<UpdatePolicy> = {}, rollback: Partial<UpdatePolicy> = {}): Service =>
  newService({
    mode: { kind: "replicated", replicas },
    update: { ...policy, ...update },
    rollback: { ...policy, ...rollback },
  });
const withImage = (image: string) => (spec: Service["spec"]) => ({
  ...spec,
  task: { ...spec.task, container: { ...spec.task.container, image } },
});
/** A service whose tasks run, and that is updated. */
const updated = (row: Service, nodes = ["n1", "n2"]) => new Stage(nodes, [row]).obey().update(web, withImage("new"));
/** The slots that have a task of the new template, and how that is. */
const fresh = (stage: Stage) =>
  stage.told.flatMap((line) => / web\.(\d+)@\S+ (\w+\/\w+)$/.exec(line)?.slice(1).join(" ") ?? []);
const status = (stage: Stage) => `${stage.service().update?.state}: ${stage.service().update?.message}`;
/** The task that is being started. */
const next = (stage: Stage, count = 1) =>
  stage.told
    .filter((line) => /assigned\/running$/.test(line))
    .slice(-count)
    .map((line) => line.split(" ")[0] ?? "");

describe("a rolling update", () => {
  it("stops the old task of a slot, starts the new one when that has ended, and goes on when it runs", () => {
    const stage = updated(service(2));
    assert.equal(status(stage), "updating: update in progress");
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 running/running old draining",
      "t2 web.2@n2 running/running old",
      "t3 web.1@n1 assigned/ready",
    ]);
    stage.acknowledge(["t1"]).say("shutdown", ["t1"]);
    assert.deepEqual(fresh(stage), ["1 assigned/running"]);
    stage.say("running", ["t3"]);
    assert.deepEqual(fresh(stage), ["1 running/running", "2 assigned/ready"]);
    stage.obey();
    assert.deepEqual(fresh(stage), ["1 running/running", "2 running/running"]);
    assert.equal(status(stage), "updating: update in progress");
    stage.pass(4999);
    assert.equal(status(stage), "updating: update in progress");
    stage.pass(1);
    assert.equal(status(stage), "completed: update completed");
    assert.equal(stage.service().update?.completedAt, stage.now);
  });

  it("replaces so many at once", () => {
    assert.equal(fresh(updated(service(5, { parallelism: 2 }))).length, 2);
    assert.equal(fresh(updated(service(5, { parallelism: 0 }))).length, 5);
  });

  it("counts what it is replacing when its number of tasks is changed meanwhile", () => {
    const stage = updated(service(3)).acknowledge(["t1"]).say("shutdown", ["t1"]);
    stage.update(web, (spec) => ({ ...spec, mode: { kind: "replicated", replicas: 4 } }));
    assert.deepEqual(fresh(stage), ["1 assigned/running", "4 assigned/running"]);
    stage.say("running", ["t4"]);
    assert.deepEqual(fresh(stage), ["1 running/running", "4 assigned/running", "2 assigned/ready"]);
  });

  it("waits its delay after each, and after the last before it is done", () => {
    const stage = updated(service(2, { delay: 10_000 })).obey();
    assert.equal(fresh(stage).length, 1);
    stage.pass(9999);
    assert.equal(fresh(stage).length, 1);
    stage.pass(1).obey();
    assert.equal(fresh(stage).length, 2);
    stage.pass(10_999);
    assert.match(status(stage), /^updating/);
    assert.match(status(stage.pass(1)), /^completed/);
  });

  it("replaces what does not run first", () => {
    const stage = new Stage(["n1"], [service(3)]).say("running", ["t1", "t3"]).update(web, withImage("new"));
    assert.deepEqual(fresh(stage), ["2 assigned/ready"]);
  });

  it("start-first: the old task goes when the new one runs", () => {
    const stage = updated(service(2, { order: "start-first" }));
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 running/running old",
      "t2 web.2@n2 running/running old",
      "t3 web.1@n1 assigned/running",
    ]);
    stage.say("running", ["t3"]);
    assert.equal(stage.told[0], "t1 web.1@n1 running/running old draining");
    assert.equal(stage.told.at(-1), "t4 web.2@n2 assigned/running");
    assert.equal(stage.rows.list("backends").length, 2);
  });

  it("start-first, twice in a row: what the first one was starting goes, what runs stays until the second runs", () => {
    const stage = updated(service(1, { order: "start-first" })).update(web, withImage("newer"));
    assert.deepEqual(stage.told, [
      "t1 web.1@n1 running/running old",
      "t2 web.1@n2 assigned/shutdown old",
      "t3 web.1@n2 assigned/ready",
    ]);
    stage.say("shutdown", ["t2"]).say("running", ["t3"]).obey();
    assert.deepEqual(fresh(stage), ["1 running/running"]);
  });

  it("start-first: an old task that ends while the new one is being started is not followed by a third", () => {
    const stage = updated(service(1, { order: "start-first" })).say("failed", ["t1"]);
    assert.deepEqual(stage.told, ["t1 web.1@n1 failed/shutdown old", "t2 web.1@n2 assigned/running"]);
  });

  it("of a global service goes from node to node, paused ones left out", () => {
    const stage = new Stage(["n1", "n2", "n3"], [newService({ mode: { kind: "global" } })]).obey();
    stage.node("n2", { availability: "pause" }).update(web, withImage("new")).obey().pass(5000);
    assert.match(status(stage), /^completed/);
    assert.deepEqual(
      stage.told.filter((line) => line.includes("running/running")).map((line) => line.slice(3)),
      ["web.0@n2 running/running old", "web.0@n1 running/running", "web.0@n3 running/running"],
    );
    stage.node("n2", { availability: "active" }).obey();
    assert.ok(!stage.told.some((line) => line.includes("running/running old")));
  });

  it("where only places change, tasks that fit stay, and others are replaced in their turn", () => {
    const stage = new Stage(["n1", "n2"], [service(4)]).obey();
    const constraints = ["node.id==n1"];
    stage.update(web, (spec) => ({
      ...spec,
      task: { ...spec.task, placement: { ...spec.task.placement, constraints } },
    }));
    assert.deepEqual(
      stage.told.filter((line) => /draining|ready/.test(line)),
      ["t2 web.2@n2 running/running draining", "t5 web.2@n1 assigned/ready"],
    );
    stage.obey();
    assert.deepEqual(
      stage.told.filter((line) => line.endsWith("running/running")).map((line) => line.split(" ")[1]),
      ["web.1@n1", "web.3@n1", "web.2@n1", "web.4@n1"],
    );
  });

  it("goes on under another leader", () => {
    const stage = updated(service(3));
    for (let n = 0; n < 3; n += 1) {
      stage.changeLeader();
      assert.equal(fresh(stage).length, n + 1);
      for (const id of ["t1", "t2", "t3"].slice(n, n + 1)) stage.acknowledge([id]).say("shutdown", [id]);
      stage.say("running", next(stage));
    }
    stage.changeLeader();
    assert.match(status(stage.pass(5000)), /^completed/);
  });

  it("does nothing when only the number of tasks has changed", () => {
    const stage = new Stage(["n1"], [service(1)]).obey();
    stage.update(web, (spec) => ({ ...spec, mode: { kind: "replicated", replicas: 2 } })).obey();
    assert.equal(stage.service().update, undefined);
  });
});

describe("an update that fails", () => {
  const failing = (row: Service) => {
    const stage = updated(row).obey();
    return stage.say("failed", [stage.told.findLast((line) => line.endsWith("running/running"))?.split(" ")[0] ?? ""]);
  };
  const reason = "failure or early termination of task t";

  it("is paused, with the task that failed in its message; what was replaced is started again", () => {
    const stage = updated(service(3)).acknowledge(["t1"]).say("shutdown", ["t1"]).say("failed", next(stage0()));
    assert.equal(status(stage), `paused: update paused due to ${reason}4`);
    assert.deepEqual(fresh(stage.pass(5000).obey()), ["1 failed/shutdown", "1 running/running"]);
    stage.changeLeader();
    assert.equal(fresh(stage.pass(60_000)).length, 2);
    function stage0() {
      return updated(service(3)).acknowledge(["t1"]).say("shutdown", ["t1"]);
    }
  });

  it("after the time of its monitor it is none of the update's any more", () => {
    const stage = updated(service(1)).obey().pass(5000).say("failed", ["t2"]);
    assert.match(status(stage), /^completed/);
    const late = updated(service(2, { delay: 20_000 }))
      .obey()
      .pass(5001)
      .say("failed", ["t3"]);
    assert.match(status(late), /^updating/);
  });

  it("may fail in so many slots", () => {
    const stage = updated(service(4, { maxFailureRatio: 0.25, parallelism: 4 })).obey();
    stage.say("failed", ["t5"]);
    assert.match(status(stage), /^updating/);
    assert.deepEqual(stage.service().update?.failed, ["t5"]);
    stage.say("failed", ["t6"]);
    assert.equal(status(stage), `paused: update paused due to ${reason}6`);
  });

  it("continue: goes on whatever happens", () => {
    const stage = updated(service(2, { failureAction: "continue" }));
    stage.acknowledge(["t1"]).say("shutdown", ["t1"]).say("failed", ["t3"]);
    assert.equal(stage.told.find((line) => line.includes("web.2"))?.includes("draining"), true);
  });

  it("rollback: everything goes back, by the policy of rollbacks, and there is no way back from there", () => {
    const stage = failing(service(3, { failureAction: "rollback", parallelism: 0 }, { parallelism: 0, monitor: 1000 }));
    assert.match(status(stage), new RegExp(`^rollback_started: update rolled back due to ${reason}\\d`));
    assert.equal(stage.service().spec.task.container.image, "busybox");
    assert.equal(stage.service().templateVersion, 1);
    assert.equal(stage.service().previous, undefined);
    stage.obey();
    assert.equal(fresh(stage).filter((line) => line.endsWith("running/running")).length, 3);
    assert.equal(status(stage.pass(1000)), "rollback_completed: rollback completed");
  });

  it("rollback: tasks that were not replaced yet stay as they are", () => {
    const stage = updated(service(3, { failureAction: "rollback" }))
      .acknowledge(["t1"])
      .say("shutdown", ["t1"]);
    stage.say("failed", next(stage)).obey();
    assert.deepEqual(
      stage.told.filter((line) => line.endsWith("running/running")).map((line) => line.split(" ")[0]),
      ["t2", "t3", "t5"],
    );
  });

  it("a rollback is not rolled back", () => {
    for (const [failureAction, message] of [
      ["pause", "update paused"],
      ["rollback", "rollback paused"],
    ] as const) {
      const stage = updated(service(1, { failureAction: "rollback" }, { failureAction }));
      stage.acknowledge(["t1"]).say("shutdown", ["t1"]).say("failed", next(stage));
      stage.say("failed", next(stage));
      assert.match(status(stage), new RegExp(`^rollback_paused: ${message} due to ${reason}`));
    }
  });

  it("with nothing to go back to it is paused", () => {
    const stage = updated(service(1, { failureAction: "rollback" }));
    stage.commit((tx) => {
      const { previous: _, ...row } = stage.service();
      tx.put("services", row);
    });
    stage.settle().acknowledge(["t1"]).say("shutdown", ["t1"]).say("failed", next(stage));
    assert.match(status(stage), /^paused: update paused due to/);
  });
});

it("a rollback by the user goes back and forth", () => {
  const stage = updated(service(2, { parallelism: 0 }, { parallelism: 0 }))
    .obey()
    .pass(5000);
  const back = () => {
    stage.commit((tx) => {
      rollBackService(tx, stage.service(), { message: "manually requested rollback", byUser: true }, stage.now);
    });
    return stage.settle().obey().pass(5000);
  };
  assert.equal(status(back()), "rollback_completed: rollback completed");
  assert.equal(stage.service().spec.task.container.image, "busybox");
  assert.equal(status(back()), "rollback_completed: rollback completed");
  assert.equal(stage.service().spec.task.container.image, "new");
  assert.equal(stage.told.filter((line) => line.endsWith("running/running")).length, 2);
});
