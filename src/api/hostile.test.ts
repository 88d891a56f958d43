import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import type { Engine } from "../engine/engine.ts";
import { notFound } from "../lib/errors.ts";
import { createBody, hostConfig } from "./containers/create-body.ts";
import { routes } from "./routes.ts";
import { serviceSpecBody } from "./services/spec-body.ts";
import { specBody } from "./swarm/spec.ts";
import { outside, serve, type TestServer } from "./testing.ts";

/** An engine that has nothing: every verb says so. */
const bare = new Proxy(
  {},
  {
    get: () => () => {
      throw notFound("nothing here");
    },
  },
);
let server: TestServer;
before(async () => {
  const parts: (keyof Engine)[] = [
    ...(["networks", "containers", "execs", "volumes", "images", "events", "system", "nodes"] as const),
    ...(["services", "tasks", "secrets", "configs"] as const),
  ];
  const swarm = Object.assign(Object.create(bare) as object, { standing: () => outside });
  server = await serve({ ...Object.fromEntries(parts.map((part) => [part, bare])), swarm });
});
after(() => server[Symbol.asyncDispose]());

const values: readonly unknown[] = [
  null,
  true,
  5,
  -1.5,
  1e300,
  "x",
  [],
  {},
  [null],
  [5],
  [[]],
  ["x"],
  { a: null },
  { a: 5 },
];

test("no query, body or login of any operation makes a fault of ours", async () => {
  const odd = "%00&all=%ff&filters=%7B%22a%22%3A%7B%7D%7D&h=1&w=1&t=1&since=1&limit=5&detachKeys=a&path=/x";
  for (const { method, path } of routes) {
    const target = path.replace(/\{\w+(\.\.\.)?\}/g, "%00x%20'\"");
    for (const body of method === "GET" || method === "HEAD"
      ? [undefined]
      : [undefined, ...values.map((v) => JSON.stringify(v))]) {
      const headers = { "X-Registry-Auth": "bnVsbA" };
      const { status } = await server.ask(method, `${target}?${odd}`, { body, headers });
      assert.notEqual(status, 500, `${method} ${target} with ${body}: ${server.errors.at(-1)}`);
    }
  }
  assert.deepEqual(server.errors, []);
});

test("no value of any field of create makes a fault of ours", async () => {
  const bodies = values.flatMap((value) => [
    ...Object.keys(createBody.shape).map((key) => ({ Image: "i", [key]: value })),
    ...Object.keys(hostConfig.shape).map((key) => ({ Image: "i", HostConfig: { [key]: value } })),
    { Image: "i", HostConfig: { Mounts: [{ Type: "bind", Source: "/a", Target: "/b", BindOptions: value }] } },
    { Image: "i", HostConfig: { Mounts: [{ Type: value, Target: value }] } },
    { Image: "i", HostConfig: { PortBindings: { "80/tcp": value } } },
    { Image: "i", HostConfig: { Binds: [value] } },
    { Image: "i", NetworkingConfig: { EndpointsConfig: value } },
    { Image: "i", NetworkingConfig: { EndpointsConfig: { n: value } } },
    { Image: "i", NetworkingConfig: { EndpointsConfig: { n: { IPAMConfig: value } } } },
  ]);
  for (const body of bodies) {
    const { status } = await server.ask("POST", "/containers/create", { body });
    assert.ok(status === 400 || status === 404, `${status} for ${JSON.stringify(body)}: ${server.errors.at(-1)}`);
  }
});

test("no value of any field of a swarm makes a fault of ours", async () => {
  const specs = values.flatMap((value) => [
    ...Object.keys(specBody.shape).map((key) => ({ [key]: value })),
    { Raft: { ElectionTick: value } },
    { Dispatcher: { HeartbeatPeriod: value } },
    { CAConfig: { NodeCertExpiry: value } },
    { CAConfig: { ExternalCAs: [value] } },
    { TaskDefaults: { LogDriver: value } },
  ]);
  const fields = ["Spec", "DefaultAddrPool", "SubnetSize", "DataPathPort", "Availability", "RemoteAddrs"];
  const asked = [
    ...specs.map((body) => ["/swarm/update?version=1", body] as const),
    ...values.flatMap((value) => fields.map((field) => ["/swarm/init", { [field]: value }] as const)),
    ...values.map((value) => ["/swarm/join", { RemoteAddrs: value }] as const),
    ...values.map((value) => ["/nodes/n/update?version=1", { Role: "worker", Availability: value }] as const),
  ];
  for (const [path, body] of asked) {
    const { status } = await server.ask("POST", path, { body });
    assert.ok(status === 400 || status === 404, `${status} for ${JSON.stringify(body)}: ${server.errors.at(-1)}`);
  }
});

test("no value of any field of a service, a secret or a config makes a fault of ours", async () => {
  const container = { Image: "i" };
  const services = {
    newName: () => "a",
    networkIds: (names: readonly string[]) => [...names],
    create: async () => "id",
  };
  const files = { create: async () => "id" };
  await using swarm = await serve({ services, secrets: files, configs: files });
  const fields = (schema: object) => Object.keys((schema as { shape: object }).shape);
  const template = serviceSpecBody.shape.TaskTemplate.unwrap().unwrap();
  const inner = template.shape.ContainerSpec.unwrap().unwrap();
  const inTemplate = (of: object) => ({ TaskTemplate: { ContainerSpec: container, ...of } });
  const bodies = values.flatMap((value) => [
    ...fields(serviceSpecBody).map((key) => ({ ...inTemplate({}), [key]: value })),
    ...fields(template).map((key) => inTemplate({ [key]: value })),
    ...fields(inner).map((key) => inTemplate({ ContainerSpec: { ...container, [key]: value } })),
    ...["Privileges", "Healthcheck", "DNSConfig"].map((key) =>
      inTemplate({ ContainerSpec: { ...container, [key]: { Seccomp: value, Test: value, Search: value } } }),
    ),
    inTemplate({ ContainerSpec: { ...container, Secrets: [{ SecretID: "a", SecretName: "b", File: value }] } }),
    inTemplate({ ContainerSpec: { ...container, Mounts: [{ Type: "volume", Source: value, Target: value }] } }),
    inTemplate({ Resources: { Limits: value, Reservations: value } }),
    { ...inTemplate({}), Mode: { Replicated: value } },
    { ...inTemplate({}), EndpointSpec: { Ports: [{ TargetPort: value, PublishedPort: value }] } },
  ]);
  for (const body of bodies) {
    const { status } = await swarm.ask("POST", "/services/create", { body });
    assert.ok([201, 400].includes(status), `${status} for ${JSON.stringify(body)}: ${swarm.errors.at(-1)}`);
  }
  for (const value of values)
    for (const key of ["Name", "Data", "Labels", "Driver", "Templating"]) {
      const { status } = await swarm.ask("POST", "/secrets/create", { body: { [key]: value } });
      assert.ok([201, 400].includes(status), `${status} for ${key} ${JSON.stringify(value)}: ${swarm.errors.at(-1)}`);
    }
});

const hello = "GET /_ping HTTP/1.1\r\nHost: x\r\n";
const scraps: Readonly<Record<string, string>> = {
  "no HTTP": "\0\x01\x02hello\r\n\r\n",
  "a header without end": `${hello}X: ${"y".repeat(1 << 17)}\r\n\r\n`,
  "two lengths": `${hello}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  "length and chunks": `${hello}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "a broken chunk": `POST /networks/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
  "an upgrade to something else": `${hello}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n`,
  "an upgrade with half a body":
    "POST /exec/x/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
};
for (const [what, text] of Object.entries(scraps))
  test(`a client that sends ${what} harms nobody else`, async () => {
    const socket = server.connect();
    socket.on("error", () => {}); // the server may hang up first
    socket.resume();
    socket.end(text);
    await new Promise((resolve) => socket.on("close", resolve));
    assert.equal((await server.ask("GET", "/_ping")).text, "OK");
  });

test("a client that leaves in the middle of its body is forgotten", async () => {
  const socket = server.connect();
  socket.write(
    "POST /networks/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
  );
  await once(socket, "connect");
  socket.destroy();
  assert.equal((await server.ask("GET", "/_ping")).text, "OK");
  assert.deepEqual(server.errors, []);
});
