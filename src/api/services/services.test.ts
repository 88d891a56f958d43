import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServiceUpdate } from "../../engine/engine.ts";
import { notFound } from "../../lib/errors.ts";
import type { Service, ServiceSpec, Task } from "../../model/service.ts";
import type { Network } from "../../model/network.ts";
import { plainSpec } from "../../model/network.ts";
import { taskJson } from "../tasks/tasks.ts";
import { serve } from "../testing.ts";
import { specFrom } from "./spec-testing.ts";
import { serviceJson } from "./wire.ts";

const times = { createdAt: 1_700_000_000_000, updatedAt: 1_700_000_002_000 };
const body = {
  Name: "web",
  TaskTemplate: { ContainerSpec: { Image: "busybox:latest" }, Networks: [{ Target: "n1" }] },
  EndpointSpec: { Mode: "vip", Ports: [{ Protocol: "tcp", TargetPort: 80, PublishMode: "ingress" }] },
};
const spec = specFrom(body, { networks: ["n1"] });
const service: Service = {
  id: "jcu5b8aup4w14j8osbzhe9omr",
  version: 3,
  ...times,
  spec,
  templateVersion: 3,
  previous: { spec, templateVersion: 1 },
  virtualAddresses: [
    { network: "i1", addresses: [{ address: "10.0.0.5", prefix: 24 }] },
    {
      network: "n1",
      addresses: [
        { address: "10.0.2.2", prefix: 24 },
        { address: "fd00::2", prefix: 64 },
      ],
    },
  ],
  ports: [{ name: "", protocol: "tcp", target: 80, published: 30_000, mode: "ingress" }],
  update: {
    state: "completed",
    startedAt: 1_700_000_000_000,
    completedAt: 1_700_000_001_000,
    message: "update completed",
  },
};
const task: Task = {
  id: "mg5eruaalyvpivhhgw3990vfs",
  version: 5,
  ...times,
  serviceId: service.id,
  serviceName: "web",
  slot: 1,
  nodeId: "node1",
  template: spec.task,
  templateVersion: 3,
  hostPorts: [],
  isOnIngress: true,
  desired: "running",
  status: {
    state: "running",
    at: 1_700_000_001_000,
    message: "started",
    error: "",
    container: { id: "2df8", pid: 8778, exitCode: 0 },
    ports: [{ name: "", protocol: "tcp", target: 70, published: 7070, mode: "host" }],
  },
  attachments: [],
};
const network: Network = {
  id: "n1",
  scope: "cluster",
  spec: { ...plainSpec, name: "shop", driver: "overlay", attachable: true },
  pools: [],
  predefined: false,
  vni: 4098,
  createdAt: "2023-11-14T22:13:20.000Z",
};

test("a service is shown with Docker's fields in Docker's order", () => {
  const Spec = {
    Name: "web",
    Labels: {},
    TaskTemplate: {
      ContainerSpec: { Image: "busybox:latest", Isolation: "default" },
      Networks: [{ Target: "n1" }],
      ForceUpdate: 0,
      Runtime: "container",
    },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: body.EndpointSpec,
  };
  const expected = {
    ID: service.id,
    Version: { Index: 3 },
    CreatedAt: "2023-11-14T22:13:20.000Z",
    UpdatedAt: "2023-11-14T22:13:22.000Z",
    Spec,
    PreviousSpec: Spec,
    Endpoint: {
      Spec: body.EndpointSpec,
      Ports: [{ Protocol: "tcp", TargetPort: 80, PublishedPort: 30_000, PublishMode: "ingress" }],
      VirtualIPs: [
        { NetworkID: "i1", Addr: "10.0.0.5/24" },
        { NetworkID: "n1", Addr: "10.0.2.2/24" },
        { NetworkID: "n1", Addr: "fd00::2/64" },
      ],
    },
    UpdateStatus: {
      State: "completed",
      StartedAt: "2023-11-14T22:13:20.000Z",
      CompletedAt: "2023-11-14T22:13:21.000Z",
      Message: "update completed",
    },
    ServiceStatus: { RunningTasks: 1, DesiredTasks: 2, CompletedTasks: 0 },
  };
  assert.equal(
    JSON.stringify(serviceJson(service, { status: { running: 1, desired: 2, completed: 0 } })),
    JSON.stringify(expected),
  );
});

test("a job says when it ran, and what has neither network nor port has no endpoint", () => {
  const plain = specFrom({ TaskTemplate: { ContainerSpec: { Image: "a" } }, EndpointSpec: { Mode: "vip" } });
  const { previous: _, update: _update, ...rest } = service;
  const job = {
    ...rest,
    spec: plain,
    ports: [],
    virtualAddresses: [],
    job: { iteration: 0, startedAt: 1_700_000_000_000 },
  };
  const shown = serviceJson(job) as Record<string, unknown>;
  assert.deepEqual(
    [shown.Endpoint, shown.JobStatus],
    [{ Spec: {} }, { JobIteration: {}, LastExecution: "2023-11-14T22:13:20.000Z" }],
  );
  const later = serviceJson({ ...job, job: { iteration: 2, startedAt: 0 } }) as { JobStatus: { JobIteration: object } };
  assert.deepEqual(later.JobStatus.JobIteration, { Index: 2 });
});

test("a task is shown with Docker's fields in Docker's order", () => {
  const pools = [
    { id: "p", networkId: "n1", subnet: "10.0.2.0/24", range: "10.0.2.0/24", gateway: "10.0.2.1", userSubnet: false },
  ];
  const attachments = [{ network, pools, addresses: [{ address: "10.0.2.3", prefix: 24 }] }];
  const expected = {
    ID: task.id,
    Version: { Index: 5 },
    CreatedAt: "2023-11-14T22:13:20.000Z",
    UpdatedAt: "2023-11-14T22:13:22.000Z",
    Labels: {},
    Spec: {
      ContainerSpec: { Image: "busybox:latest", Isolation: "default" },
      Networks: [{ Target: "n1" }],
      ForceUpdate: 0,
    },
    ServiceID: service.id,
    Slot: 1,
    NodeID: "node1",
    Status: {
      Timestamp: "2023-11-14T22:13:21.000Z",
      State: "running",
      Message: "started",
      ContainerStatus: { ContainerID: "2df8", PID: 8778, ExitCode: 0 },
      PortStatus: { Ports: [{ Protocol: "tcp", TargetPort: 70, PublishedPort: 7070, PublishMode: "host" }] },
    },
    DesiredState: "running",
    NetworksAttachments: [
      {
        Network: {
          ID: "n1",
          Version: {},
          CreatedAt: "2023-11-14T22:13:20.000Z",
          UpdatedAt: "2023-11-14T22:13:20.000Z",
          Spec: {
            Name: "shop",
            Labels: {},
            DriverConfiguration: { Name: "overlay" },
            Attachable: true,
            IPAMOptions: { Driver: { Name: "default" } },
            Scope: "swarm",
          },
          DriverState: { Name: "overlay", Options: { "com.docker.network.driver.overlay.vxlanid_list": "4098" } },
          IPAMOptions: { Driver: { Name: "default" }, Configs: [{ Subnet: "10.0.2.0/24", Gateway: "10.0.2.1" }] },
        },
        Addresses: ["10.0.2.3/24"],
      },
    ],
    Volumes: null,
  };
  assert.equal(JSON.stringify(taskJson({ task, attachments })), JSON.stringify(expected));
  const { nodeId: _, ...waiting } = task;
  const status = { state: "pending", at: 0, message: "m", error: "no suitable node" } as const;
  const shown = taskJson({ task: { ...waiting, slot: 0, status, jobIteration: 0 }, attachments: [] }) as Record<
    string,
    unknown
  >;
  assert.ok(!("NodeID" in shown) && !("NetworksAttachments" in shown));
  const slotOf = (change: Partial<Task>) =>
    (taskJson({ task: { ...waiting, ...change }, attachments: [] }) as { Slot?: number }).Slot;
  const ofJob = (slot: number) => slotOf({ slot, jobIteration: 0 });
  assert.deepEqual([ofJob(1), ofJob(2)], [undefined, 1]);
  // A client names the first by its node, and one that fits on no node has none.
  assert.deepEqual([slotOf({ slot: 0, nodeId: "n1" }), slotOf({ slot: 0 })], [undefined, 1]);
  assert.deepEqual([shown.JobIteration, (shown.Status as { Err: string }).Err], [{}, "no suitable node"]);
});

test("create, update, rollback, remove and lists reach the engine", async () => {
  const seen: unknown[] = [];
  const services = {
    newName: () => "calm_gull_0a1b",
    networkIds: (names: readonly string[]) => names.map((name) => `id-${name}`),
    create: async ({ name, task: { networks, registryAuth } }: ServiceSpec) => {
      seen.push(["create", name, networks.map((one) => one.network), registryAuth]);
      return service.id;
    },
    update: async (name: string, { spec: { shown: _, ...changed }, ...change }: ServiceUpdate) =>
      void seen.push(["update", name, changed.name, change]),
    rollBack: async (...all: unknown[]) => void seen.push(["rollBack", ...all]),
    remove: async (...all: unknown[]) => void seen.push(["remove", ...all]),
    list: (filters: ReadonlyMap<string, readonly string[]>, withStatus: boolean) => {
      seen.push(["list", [...filters], withStatus]);
      return [{ service }];
    },
    inspect: (name: string) => {
      if (name !== "web") throw notFound(`service ${name} not found`);
      return service;
    },
  };
  await using server = await serve({ services });
  const headers = { "X-Registry-Auth": "eyJ9" };
  const created = await server.ask("POST", "/services/create", { body, headers });
  assert.deepEqual([created.status, created.json], [201, { ID: service.id, Warnings: null }]);
  await server.ask("POST", "/services/create", { body: { TaskTemplate: { ContainerSpec: { Image: "a" } } } });
  const update = (query: string) => server.ask("POST", `/services/web/update${query}`, { body });
  assert.deepEqual((await update("?version=3")).json, { Warnings: null });
  await update("?version=3&registryAuthFrom=previous-spec");
  await update("?version=3&rollback=previous");
  assert.equal((await server.ask("DELETE", "/services/web")).status, 200);
  await server.ask("GET", '/services?status=true&filters={"name":{"w":true}}');
  assert.deepEqual(seen, [
    ["create", "web", ["id-n1"], "eyJ9"],
    ["create", "calm_gull_0a1b", [], undefined],
    ["update", "web", "web", { version: 3, registryAuthFrom: "spec" }],
    ["update", "web", "web", { version: 3, registryAuthFrom: "previous-spec" }],
    ["rollBack", "web", 3],
    ["remove", "web"],
    ["list", [["name", ["w"]]], true],
  ]);
  const refused = async (query: string, status: number, message: string) => {
    const answer = await update(query);
    assert.deepEqual([answer.status, answer.json.message], [status, message]);
  };
  await refused("?version=x", 400, `invalid service version 'x': strconv.ParseUint: parsing "x": invalid syntax`);
  await refused("?version=3&rollback=foo", 500, "unrecognized rollback option foo");
  await refused("?version=3&registryAuthFrom=foo", 500, "unsupported registryAuthFrom value");
  const shown = (await server.ask("GET", "/services/web?insertDefaults=true")).json;
  assert.equal(shown.Spec.UpdateConfig.Monitor, 5_000_000_000);
  assert.ok(!("UpdateConfig" in (await server.ask("GET", "/services/web")).json.Spec));
  assert.doesNotMatch(JSON.stringify(shown), /registryAuth/i);
  assert.equal(
    (await server.ask("GET", "/services/web?insertDefaults=x")).json.message,
    "invalid value for insertDefaults: x",
  );
  assert.equal((await server.ask("GET", "/services/db")).status, 404);
});
