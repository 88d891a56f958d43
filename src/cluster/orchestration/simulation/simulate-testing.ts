import type { ServiceSpec } from "../../../model/service.ts";
import { plainTemplate } from "../../task-testing.ts";
import { newSpec, policy } from "../testing.ts";
import { checkQuiet } from "./invariants-testing.ts";
import { network, World } from "./world-testing.ts";

const most = { services: 3, nodes: 4, faults: 14 } as const;

/** One story: services are made and changed, nodes and leaders come and go; then nothing happens any more. @throws what went wrong */
export function simulate(seed: number): World {
  const world = new World(seed, 2 + (seed % (most.nodes - 1)));
  const { clock } = world;
  for (let n = 0; n < most.faults; n += 1) {
    happen(world);
    world.isSlow = world.random() < 0.2;
    run(world, world.between(50, 12_000));
  }
  calm(world);
  for (let minutes = 0; minutes < 30 && (minutes < 2 || isAtWork(world)); minutes += 1) run(world, 60_000);
  run(world, clock.now);
  checkQuiet(world);
  return world;
}

function run({ clock }: World, milliseconds: number): void {
  const end = clock.now + milliseconds;
  clock.after(milliseconds, () => {});
  while (clock.step(end));
}

const isAtWork = (world: World): boolean =>
  world.leftToDo().length > 0 ||
  world.rows.list("acknowledgements").length > 0 ||
  world.rows.list("services").some(({ update }) => ["updating", "rollback_started"].includes(update?.state ?? "")) ||
  world.rows
    .list("tasks")
    .some(({ status, desired }) => status.state !== desired && status.error === "" && desired !== "shutdown");

/** What was cut is healed, but for some nodes, and images are good ones. */
function calm(world: World): void {
  [world.isSlow, world.isQuiet] = [false, true];
  for (const [id, node] of world.nodes) {
    const isLeft = id !== "n1" && world.random() < 0.3;
    if (isLeft && world.random() < 0.5) node.cut(world.random() < 0.5);
    else node.heal();
    world.changeNode(id, { availability: isLeft ? (world.pick(["active", "drain"] as const) ?? "drain") : "active" });
  }
  for (const { id, spec } of world.rows.list("services"))
    if (spec.task.container.image === "bad") world.update(id, (old) => withImage(old, "good"));
}

const withImage = (spec: ServiceSpec, image: string): ServiceSpec => ({
  ...spec,
  task: { ...spec.task, container: { ...spec.task.container, image } },
});

function happen(world: World): void {
  const kinds =
    world.rows.list("services").length === 0 ? [addService] : [addService, ...onService, ...onNode, ...onLeader];
  world.pick(kinds)?.(world);
}

function addService(world: World): void {
  const taken = new Set(world.rows.list("services").map(({ spec }) => spec.name));
  const name = world.pick(["a", "b", "c"].filter((one) => !taken.has(one)));
  if (name === undefined) return;
  const update = { ...policy, ...randomPolicy(world) };
  const task = {
    ...plainTemplate,
    networks: [{ network, aliases: [], driverOptions: {} }],
    restart:
      world.pick([
        plainTemplate.restart,
        plainTemplate.restart,
        { condition: "on-failure", delay: 1000, maxAttempts: 2, window: 0 },
        { ...plainTemplate.restart, delay: 0 },
      ] as const) ?? plainTemplate.restart,
    reservations: { nanoCpus: (world.pick([0, 0, 4, 9]) ?? 0) * 1e8, memory: 0 },
    placement: {
      ...plainTemplate.placement,
      constraints: world.random() < 0.3 ? ["node.labels.zone==a"] : [],
      spread: world.random() < 0.3 ? ["node.labels.zone"] : [],
      maxPerNode: world.random() < 0.2 ? 2 : 0,
    },
  };
  world.create({
    ...newSpec(),
    name,
    mode: randomMode(world),
    update,
    rollback: update,
    task,
    endpoint: { mode: "dnsrr", ports: [] },
    drain: world.between(0, 3000),
  });
}

function randomMode(world: World): ServiceSpec["mode"] {
  const modes: ServiceSpec["mode"][] = [
    { kind: "replicated", replicas: world.between(0, 5) },
    { kind: "replicated", replicas: world.between(1, 4) },
    { kind: "global" },
    { kind: "replicated-job", total: world.between(1, 5), concurrent: world.between(1, 3) },
    { kind: "global-job" },
  ];
  return world.pick(modes) as ServiceSpec["mode"];
}

const randomPolicy = (world: World): Partial<ServiceSpec["update"]> => ({
  parallelism: world.between(0, 3),
  delay: world.between(0, 2) * 1000,
  order: world.random() < 0.3 ? "start-first" : "stop-first",
  failureAction: world.pick(["pause", "continue", "rollback"] as const) ?? "pause",
  monitor: world.between(0, 6000),
});

/** What the user does to a service. */
const onService = [
  (spec: ServiceSpec) => withImage(spec, `good${spec.task.container.image.length}`),
  (spec: ServiceSpec) => withImage(spec, "bad"),
  (spec: ServiceSpec, world: World) =>
    spec.mode.kind === "replicated" ? { ...spec, mode: { ...spec.mode, replicas: world.between(0, 6) } } : spec,
  (spec: ServiceSpec) => ({ ...spec, task: { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 } }),
  (spec: ServiceSpec) => ({
    ...spec,
    task: {
      ...spec.task,
      placement: {
        ...spec.task.placement,
        constraints: spec.task.placement.constraints.length > 0 ? [] : ["node.labels.zone==b"],
      },
    },
  }),
]
  .map((change) => (world: World) => {
    const service = world.pick(world.rows.list("services"));
    if (service !== undefined) world.update(service.id, (spec) => change(spec, world));
  })
  .concat(
    (world) => world.rollBack(world.pick(world.rows.list("services"))?.id ?? ""),
    (world) => world.removeService(world.pick(world.rows.list("services"))?.id ?? ""),
  );

/** Any node but the manager. */
const worker = (world: World) => world.pick([...world.nodes.keys()].filter((id) => id !== "n1")) ?? "";

const onNode = [
  (world: World) => world.nodes.get(worker(world))?.cut(false),
  (world: World) => world.nodes.get(worker(world))?.cut(true),
  (world: World) => world.nodes.get(worker(world))?.heal(),
  (world: World) => world.nodes.get(worker(world))?.heal(),
  (world: World) => world.changeNode(worker(world), { availability: "drain" }),
  (world: World) => world.changeNode(worker(world), { availability: "pause" }),
  (world: World) => world.changeNode(worker(world), { availability: "active" }),
  (world: World) => world.changeNode(worker(world), { labels: { zone: world.pick(["a", "b"]) ?? "a" } }),
  (world: World) => {
    if (world.nodes.size > 2 && world.random() < 0.5) world.removeNode(worker(world));
  },
];
const onLeader = [(world: World) => world.changeLeader(), (world: World) => world.changeLeader()];
