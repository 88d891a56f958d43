import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Service, TaskTemplate } from "../../model/service.ts";
import { plainSpec } from "../../model/network.ts";
import { Rows } from "../../store/rows.ts";
import { plainTemplate } from "../task-testing.ts";
import { Addresses } from "./addresses.ts";
import { Stage } from "./stage-testing.ts";
import { newService, newTask } from "./testing.ts";

const web = "service-web";
const onNet = { ...plainTemplate, networks: [{ network: "net", aliases: [], driverOptions: {} }] };
const service = (replicas: number, wish: Partial<Service["spec"]> = {}) =>
  newService({
    mode: { kind: "replicated", replicas },
    task: onNet,
    endpoint: { mode: "dnsrr", ports: [] },
    ...wish,
  });
const lack = "no available IPv4 addresses on this network's address pools: net (net)";
/** The tasks that are to go on, and why they wait. */
const live = (stage: Stage) =>
  stage.told
    .filter((line) => !/shutdown|remove/.test(line))
    .map((line) => `${line} ${stage.task(line.split(" ")[0] ?? "").status.error}`.trimEnd());
/** The address of a task, as `Stage.say` claims them. */
const giveBack = (stage: Stage, id: string) => stage.remove("claims", `pool|10.0.0.${id.slice(1)}`);

describe("where a network has no address left", () => {
  it("tasks wait, say why, and go on when one is given back", () => {
    const stage = new Stage(["n1", "n2"], [service(4)], "10.0.0.0/30");
    const waiting = [`t3 web.3@- pending/running ${lack}`, `t4 web.4@- pending/running ${lack}`];
    assert.deepEqual(live(stage), ["t1 web.1@n1 assigned/running", "t2 web.2@n2 assigned/running", ...waiting]);
    stage.say("running", ["t1", "t2"]);
    assert.deepEqual(live(stage).slice(2), waiting);
    stage.say("failed", ["t1"]);
    assert.deepEqual(live(stage), ["t2 web.2@n2 running/running", ...waiting, `t5 web.1@- pending/ready ${lack}`]);
    giveBack(stage, "t1").pass(5000);
    assert.deepEqual(live(stage), [
      "t2 web.2@n2 running/running",
      "t3 web.3@n1 assigned/running",
      `t4 web.4@- pending/running ${lack}`,
      `t5 web.1@- pending/running ${lack}`,
    ]);
    assert.equal(stage.told.length, 5, "nothing is tried meanwhile");
  });

  it("a new leader knows the same", () => {
    const stage = new Stage(["n1"], [service(3)], "10.0.0.0/30").say("running", ["t1"]);
    stage.changeLeader();
    assert.deepEqual(live(stage).slice(2), [`t3 web.3@- pending/running ${lack}`]);
    giveBack(stage, "t1");
    assert.deepEqual(live(stage).slice(2), ["t3 web.3@n1 assigned/running"]);
  });

  it("what other endpoints give back, and tasks on their way that are not wanted any more, is for those that wait", () => {
    const other = service(2, { name: "other" });
    const stage = new Stage(["n1"], [other, service(1)], "10.0.0.0/30");
    assert.deepEqual(live(stage).slice(2), [`t3 web.1@- pending/running ${lack}`]);
    stage.remove("services", other.id);
    assert.deepEqual(live(stage), ["t3 web.1@n1 assigned/running"]);
    const full = new Stage(["n1"], [], "10.0.0.0/30");
    for (const address of ["10.0.0.1", "10.0.0.2"])
      full.commit((tx) => tx.insert("claims", { pool: "pool", address, kind: "endpoint", owner: "container" }));
    full.create(service(1));
    assert.deepEqual(live(full), [`t1 web.1@- pending/running ${lack}`]);
    full.remove("claims", "pool|10.0.0.2");
    assert.deepEqual(live(full), ["t1 web.1@n1 assigned/running"]);
  });

  it("a task that has claimed and not yet said so counts twice, until it says so", () => {
    const stage = new Stage(["n1"], [service(1, { name: "other" })], "10.0.0.0/30");
    stage.commit((tx) => tx.insert("claims", { pool: "pool", address: "10.0.0.1", kind: "endpoint", owner: "t1" }));
    stage.create(service(1));
    assert.deepEqual(live(stage).slice(1), [`t2 web.1@- pending/running ${lack}`]);
    stage.say("running", ["t1"]);
    assert.deepEqual(live(stage).slice(1), ["t2 web.1@n1 assigned/running"]);
  });

  it("a rolling update takes the addresses of the tasks that it replaces", () => {
    const stage = new Stage(["n1", "n2"], [service(2)], "10.0.0.0/30").obey();
    stage.update(web, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }));
    assert.deepEqual(live(stage).slice(2), [`t3 web.1@- pending/ready ${lack}`]);
    stage.acknowledge(["t1"]).say("shutdown", ["t1"]);
    assert.deepEqual(live(stage).slice(1), [`t3 web.1@- pending/running ${lack}`]);
    giveBack(stage, "t1");
    assert.deepEqual(live(stage).slice(1), ["t3 web.1@n1 assigned/running"]);
  });

  it("tasks of global services wait on their nodes; those of other networks, or of none, do not", () => {
    const nodes = ["n1", "n2", "n3"];
    const stage = new Stage(nodes, [service(0, { mode: { kind: "global" } })], "10.0.0.0/30");
    assert.deepEqual(live(stage).slice(2), [`t3 web.0@n3 pending/running ${lack}`]);
    stage.create(newService({ name: "free" }));
    assert.deepEqual(live(stage).slice(3), ["t4 free.1@n3 assigned/running"]);
    stage.say("running", ["t1"]).say("shutdown", ["t1"]);
    giveBack(stage, "t1");
    assert.deepEqual(
      live(stage).filter((line) => line.includes("web.0@n3")),
      ["t3 web.0@n3 assigned/running"],
    );
  });
});

it("what is left is that of the network, and of the family, that has the least; ingress is one of them", (test) => {
  const network = (id: string, isIngress: boolean) => {
    const spec = { ...plainSpec, name: id, driver: "overlay", ingress: isIngress };
    return ["networks", { id, scope: "cluster", spec, pools: [], predefined: false, createdAt: "" }] as const;
  };
  const pool = (networkId: string, subnet: string, range = subnet) =>
    ["pools", { id: subnet, networkId, subnet, range, gateway: "", userSubnet: true }] as const;
  const rows = Rows.of(0, [
    ...[network("net", false), pool("net", "10.0.0.0/24", "10.0.0.0/28"), pool("net", "fd00::/126")],
    ...[network("in", true), pool("in", "10.1.0.0/30"), pool("in", "10.2.0.0/31")],
    ["claims", { pool: "fd00::/126", address: "fd00::1", kind: "gateway", owner: "net" }],
    ["claims", { pool: "10.0.0.0/24", address: "10.0.0.99", kind: "endpoint", owner: "beyond the range" }],
  ]);
  const lists = test.mock.method(rows, "list");
  const on = (template: TaskTemplate, isOnIngress: boolean) => newTask({ template, isOnIngress });
  const addresses = new Addresses();
  const room = (task: ReturnType<typeof on>) => addresses.roomFor(task, rows);
  const textOf = (name: string, family: 4 | 6) =>
    `no available IPv${family} addresses on this network's address pools: ${name} (${name})`;
  assert.deepEqual(room(on(plainTemplate, false)), { count: Infinity, lack: "" });
  assert.deepEqual(room(on(onNet, false)), { count: 2, lack: textOf("net", 6) });
  assert.deepEqual(room(on(plainTemplate, true)), { count: 4, lack: textOf("in", 4) });
  assert.deepEqual(room(on(onNet, true)), { count: 2, lack: textOf("net", 6) });
  const placed = {
    ...on(plainTemplate, true),
    nodeId: "n1",
    status: { ...newTask().status, state: "assigned" },
  } as const;
  for (let n = 0; n < 4; n += 1) addresses.setTask(undefined, placed);
  assert.deepEqual(room(on(onNet, true)), { count: 0, lack: textOf("in", 4) });
  assert.equal(lists.mock.callCount(), 0, "no table is searched through");
});
