import assert from "node:assert/strict";
import { test } from "node:test";
import { newTask, playCluster, type PlayedCluster } from "../../engine/cluster-testing.ts";
import { createFileContents } from "../../engine/secrets.ts";
import { createServices } from "../../engine/services.ts";
import { createTasks } from "../../engine/tasks.ts";
import { newNode } from "../../cluster/testing.ts";
import { texts } from "../../cluster/texts.ts";
import { unavailable } from "../../lib/errors.ts";
import type { Parts } from "../../engine/parts.ts";
import { serve } from "../testing.ts";

/** A request that is refused, with what Docker answers. `WEB`, `HOST` and `NET` stand for ids. */
interface Case {
  readonly what: string;
  /** POST, when there is no other. */
  readonly method?: "GET" | "DELETE";
  readonly path: string;
  readonly body?: object;
  readonly status: number;
  readonly message: string;
}
const rpc = (code: string, text: string) => `rpc error: code = ${code} desc = ${text}`;
const wrong = (text: string) => rpc("InvalidArgument", text);
const port = (PublishedPort: number, more: object = {}) => ({ TargetPort: 80, PublishedPort, ...more });
const onHost = (number: number) => port(number, { PublishMode: "host" });
const of = (ContainerSpec: object, more: object = {}) => ({ TaskTemplate: { ContainerSpec, ...more } });
const busybox = { Image: "busybox" };
/** A service called `late` of one task. */
const late = (more: object = {}) => ({ Name: "late", ...of(busybox), ...more });
const ports = (...Ports: object[]) => late({ EndpointSpec: { Ports } });
const create = (what: string, body: object, status: number, message: string): Case => ({
  what,
  path: "/services/create",
  body,
  status,
  message,
});
const update = (what: string, body: object, status: number, message: string, version = 1): Case => ({
  what,
  path: `/services/web/update?version=${version}`,
  body,
  status,
  message,
});
const web = (more: object = {}) => ({ Name: "web", ...of(busybox), EndpointSpec: { Ports: [port(8080)] }, ...more });
const local =
  "The network here cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.";
const secret = (more: object) => ({ Secrets: [{ SecretID: "s", SecretName: "s", ...more }] });

const cases: readonly Case[] = [
  create(
    "a name that there is",
    web(),
    409,
    rpc("AlreadyExists", "name conflicts with an existing object: service web already exists"),
  ),
  create(
    "an alias that would be among another service's tasks",
    {
      Name: "late",
      TaskTemplate: { ContainerSpec: busybox, Networks: [{ Target: "ingress", Aliases: ["tasks.web"] }] },
    },
    400,
    'alias tasks.web: names that begin with "tasks." lead to a service\'s tasks alone',
  ),
  create(
    "a port that a service publishes on every node",
    ports(port(8080)),
    400,
    wrong("port '8080' is already in use by service 'web' (WEB) as an ingress port"),
  ),
  create(
    "the same for tasks' nodes",
    ports(onHost(8080)),
    400,
    wrong("port '8080' is already in use by service 'web' (WEB) as an ingress port"),
  ),
  create(
    "a port that a service publishes on its tasks' nodes",
    ports(port(7070)),
    400,
    wrong("port '7070' is already in use by service 'host' (HOST) as a host-published port"),
  ),
  create(
    "a port of a container of another node",
    ports(port(9090)),
    400,
    wrong("port '9090' is already in use by container 'shop' on node 'h2'"),
  ),
  create(
    "a port of a process of this one",
    ports(port(22)),
    400,
    wrong("port '22' is already in use by a process on node 'h1'"),
  ),
  create(
    "a port twice",
    ports(port(81), port(81, { TargetPort: 82 })),
    400,
    wrong("EndpointSpec: duplicate published ports provided"),
  ),
  create(
    "a port on every node without a virtual address",
    late({ EndpointSpec: { Mode: "dnsrr", Ports: [port(81)] } }),
    400,
    wrong("EndpointSpec: port published with ingress mode can't be used with dnsrr mode"),
  ),
  create("a network of this host", late(of(busybox, { Networks: [{ Target: "here" }] })), 403, local),
  create(
    "a network that there is not",
    late(of(busybox, { Networks: [{ Target: "nope" }] })),
    404,
    "network nope not found",
  ),
  create(
    "the network of published ports",
    late(of(busybox, { Networks: [{ Target: "ingress" }] })),
    400,
    wrong('Service cannot be explicitly attached to the ingress network "ingress"'),
  ),
  create("no image", late(of({})), 400, wrong("ContainerSpec: image reference must be provided")),
  create(
    "what is no image",
    late(of({ Image: "Bad$" })),
    400,
    wrong('ContainerSpec: "Bad$" is not a valid repository/tag'),
  ),
  create("a name that is none", { ...late(), Name: "w_" }, 400, wrong("name must be valid as a DNS name component")),
  create(
    "half a secret",
    late(of({ ...busybox, ...secret({ SecretName: "" }) })),
    400,
    wrong("malformed secret reference"),
  ),
  create(
    "a secret that there is not",
    late(of({ ...busybox, ...secret({ File: { Name: "s" } }) })),
    400,
    wrong("secret not found: s"),
  ),
  create(
    "a constraint that says nothing",
    late(of(busybox, { Placement: { Constraints: ["node.role"] } })),
    400,
    wrong("constraint expected one operator from ==, !="),
  ),
  update("another name", { ...web(), Name: "other" }, 501, rpc("Unimplemented", "renaming services is not supported")),
  update(
    "another mode",
    web({ Mode: { Global: {} } }),
    501,
    rpc("Unimplemented", "service mode change is not allowed"),
  ),
  update("a version that was", web(), 500, rpc("Unknown", "update out of sequence"), 7),
  {
    ...update(
      "the way back where there is none",
      web(),
      400,
      rpc("FailedPrecondition", "service WEB does not have a previous spec"),
    ),
    path: "/services/web/update?version=1&rollback=previous",
  },
  update(
    "a port of another service",
    web({ EndpointSpec: { Ports: [port(7070)] } }),
    400,
    wrong("port '7070' is already in use by service 'host' (HOST) as a host-published port"),
  ),
  {
    ...update("a service that there is not", late(), 404, "service none not found"),
    path: "/services/none/update?version=1",
  },
  { what: "nothing to look at", method: "GET", path: "/services/none", status: 404, message: "service none not found" },
  {
    what: "nothing to remove",
    method: "DELETE",
    path: "/services/none",
    status: 404,
    message: "service none not found",
  },
  { what: "no task", method: "GET", path: "/tasks/none", status: 404, message: "task none not found" },
  {
    what: "two tasks",
    method: "GET",
    path: "/tasks/ta",
    status: 400,
    message: "task ta is ambiguous (2 matches found)",
  },
  {
    what: "a secret that is in use",
    method: "DELETE",
    path: "/secrets/key",
    status: 400,
    message: wrong("secret 'key' is in use by the following service: web"),
  },
  {
    what: "a secret of nothing",
    path: "/secrets/create",
    body: { Name: "empty", Data: "" },
    status: 400,
    message: wrong("secret data must be larger than 0 and less than 512000 bytes"),
  },
];

/** A manager with services `web` and `host`, and what else the cases speak of. */
async function play() {
  const cluster = await playCluster();
  const { parts, store } = cluster;
  const secrets = createFileContents(parts, "secrets");
  const server = await serve({ services: createServices(parts), tasks: createTasks(parts), secrets });
  const made = async (path: string, body: object) => {
    const { status, json } = await server.ask("POST", path, { body });
    assert.equal(status, 201, JSON.stringify(json));
    return json.ID as string;
  };
  const key = await made("/secrets/create", { Name: "key", Data: "YQ==" });
  const Secrets = [{ SecretID: key, SecretName: "key", File: { Name: "key" } }];
  const ids = {
    WEB: await made("/services/create", web(of({ ...busybox, Secrets }))),
    HOST: await made("/services/create", { Name: "host", ...of(busybox), EndpointSpec: { Ports: [onHost(7070)] } }),
  };
  const shop = { protocol: "tcp", address: "0.0.0.0", port: 9090, container: "shop" };
  await store.update((tx) => {
    tx.insert("nodes", newNode({ id: "worker", hostname: "h2", takenPorts: [shop] }));
    for (const id of ["ta1", "ta2"]) tx.insert("tasks", newTask(id, { serviceId: ids.WEB }));
  });
  cluster.taken.add("tcp|22");
  await here(cluster);
  return { ...cluster, server, ids };
}

/** A network of the host alone. */
async function here({ parts, store }: PlayedCluster): Promise<void> {
  const [ingress] = store.snapshot().list("networks");
  assert.ok(ingress);
  await parts.store.update((tx) => {
    tx.insert("networks", {
      ...ingress,
      id: "l1",
      scope: "local",
      spec: { ...ingress.spec, name: "here", ingress: false },
    });
    tx.insert("names", { kind: "network", name: "here", id: "l1" });
  });
}

test("what cannot be is refused with Docker's status and text, and nothing of it is left", async () => {
  const { server, store, ids } = await play();
  await using _ = server;
  const { revision } = store.snapshot();
  for (const { what, method = "POST", path, body, status, message } of cases) {
    const answer = await server.ask(method, path, body === undefined ? {} : { body });
    const text = message.replace("WEB", ids.WEB).replace("HOST", ids.HOST);
    assert.deepEqual([answer.status, answer.json.message], [status, text], what);
    assert.equal(store.snapshot().revision, revision, `${what}: something was written`);
  }
});

test("without a network for published ports a port on every node is refused", async () => {
  const { server, store } = await play();
  await using _ = server;
  await store.update((tx) => {
    for (const { id, spec } of tx.list("networks")) if (spec.ingress) tx.delete("networks", id);
  });
  const { revision } = store.snapshot();
  const { status, json } = await server.ask("POST", "/services/create", { body: ports(port(81)) });
  const text = "service needs ingress network, but no ingress network is present";
  assert.deepEqual([status, json.message], [400, rpc("FailedPrecondition", text)]);
  assert.equal(store.snapshot().revision, revision);
});

test("who is no manager at work says why, whatever is asked", async () => {
  for (const text of [texts.notInSwarm, texts.worker, texts.preparing, texts.noLeader, texts.locked, texts.expired]) {
    const control = () => {
      throw unavailable(text);
    };
    const membership = { control, current: control, update: control } as unknown as Parts["membership"];
    const { parts } = await playCluster();
    await using server = await serve({ services: createServices({ ...parts, membership }) });
    const asked = [
      server.ask("GET", "/services"),
      server.ask("GET", "/services/web"),
      server.ask("DELETE", "/services/web"),
      server.ask("POST", "/services/create", { body: late() }),
      server.ask("POST", "/services/web/update?version=1", { body: web() }),
    ];
    for (const { status, json } of await Promise.all(asked)) assert.deepEqual([status, json.message], [503, text]);
  }
});
