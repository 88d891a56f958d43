import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkDetail, SwarmStanding } from "../../engine/engine.ts";
import { type NetworkSpec, plainSpec } from "../../model/network.ts";
import { outside, serve } from "../testing.ts";
import { readEndpointSettings } from "./endpoint-settings.ts";
import { networkJson } from "./wire.ts";

/** What Docker's client 28 sends for `network create --subnet … --gateway … my_net`. */
const fromClient = {
  Name: "my_net",
  Driver: "bridge",
  Scope: "",
  Internal: false,
  Attachable: false,
  Ingress: false,
  IPAM: { Driver: "default", Options: {}, Config: [{ Subnet: "172.77.0.0/24", Gateway: "172.77.0.1" }] },
  ConfigOnly: false,
  ConfigFrom: null,
  Options: {},
  Labels: {},
};
const plain: NetworkSpec = {
  name: "my_net",
  driver: "bridge",
  ...plainSpec,
};

/** Creates a network over HTTP; @returns the answer and what the engine was asked for */
async function created(body: object, version = "", state: SwarmStanding["state"] = "inactive") {
  const specs: NetworkSpec[] = [];
  const networks = {
    create: async (spec: NetworkSpec) => {
      specs.push(spec);
      return { id: "f00", warning: "" };
    },
  };
  const system = { info: async () => ({ driverNames: ["bridge", "host", "none"] }) as never };
  await using server = await serve({ networks, system, swarm: { standing: () => ({ ...outside, state }) } });
  const { status, json } = await server.ask("POST", `${version}/networks/create`, { body });
  return { status, json, spec: specs[0] };
}

test("create translates what Docker's client sends", async () => {
  const { status, json, spec } = await created(fromClient);
  assert.deepEqual([status, json], [201, { Id: "f00", Warning: "" }]);
  const subnets = [{ subnet: "172.77.0.0/24", gateway: "172.77.0.1", auxiliary: {} }];
  assert.deepEqual(spec, { ...plain, ipam: { ...plain.ipam, subnets } });
});

test("create takes null for every field, and what was left out for Docker's defaults", async () => {
  const nulls = Object.fromEntries(Object.keys(fromClient).map((key) => [key, null]));
  assert.deepEqual((await created({ ...nulls, Name: "my_net" })).spec, plain);
  assert.deepEqual((await created({ Name: "my_net", IPAM: { Driver: "", Config: null } })).spec, plain);
});

test("create keeps all that a user can say", async () => {
  const { spec } = await created({
    Name: "n",
    Driver: "macvlan",
    EnableIPv4: false,
    EnableIPv6: true,
    Internal: true,
    Attachable: true,
    IPAM: {
      Driver: "other",
      Options: { a: "b" },
      Config: [
        { Subnet: "fd00::/60", IPRange: "fd00::/64", Gateway: "fd00::1", AuxiliaryAddresses: { x: "fd00::2" } },
        { Subnet: "10.0.0.0/8" },
      ],
    },
    Ingress: true,
    ConfigOnly: true,
    ConfigFrom: { Network: "t" },
    Options: { parent: "eth1" },
    Labels: { l: "v" },
  });
  assert.deepEqual(spec, {
    name: "n",
    driver: "macvlan",
    options: { parent: "eth1" },
    labels: { l: "v" },
    ipv4: false,
    ipv6: true,
    ipam: {
      driver: "other",
      options: { a: "b" },
      subnets: [
        { subnet: "10.0.0.0/8", auxiliary: {} },
        { subnet: "fd00::/60", range: "fd00::/64", gateway: "fd00::1", auxiliary: { x: "fd00::2" } },
      ],
    },
    internal: true,
    attachable: true,
    ingress: true,
    configOnly: true,
    configFrom: "t",
  });
});

test("create knows EnableIPv4 since API 1.48", async () => {
  assert.equal((await created({ Name: "n", EnableIPv4: false }, "/v1.47")).spec?.ipv4, true);
  assert.equal((await created({ Name: "n", EnableIPv4: false }, "/v1.48")).spec?.ipv4, false);
});

test("create puts the subnets of a client without order into one", async () => {
  const subnets = ["fd00::/64", "10.2.0.0/24", "10.1.0.0/24"].map((Subnet) => ({ Subnet }));
  for (const Config of [subnets, subnets.toReversed()]) {
    const { spec } = await created({ Name: "n", IPAM: { Config } });
    assert.deepEqual(
      spec?.ipam.subnets.map((s) => s.subnet),
      ["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"],
    );
  }
});

test("create says which scopes a network may have", async () => {
  const overlay = await created({ Name: "n", Driver: "overlay", Scope: "local" });
  assert.deepEqual(
    [overlay.status, overlay.json.message],
    [403, "cannot downgrade network scope for overlay networks"],
  );
  const { status, json } = await created({ Name: "n", Scope: "swarm" });
  assert.deepEqual([status, json.message], [403, "cannot create a swarm scoped network when swarm is not active"]);
  const within = await created({ Name: "n", Driver: "macvlan", Scope: "swarm" }, "", "active");
  assert.equal(within.status, 403);
  assert.match(within.json.message, /"macvlan" is one host's own: make it on each host, .* with -d overlay$/);
});

const detail: NetworkDetail = {
  network: {
    id: "ab12",
    scope: "local",
    pools: ["p4", "p6"],
    predefined: false,
    createdAt: "2026-01-02T03:04:05.678Z",
    spec: {
      ...plain,
      ipv6: true,
      ipam: { ...plain.ipam, subnets: [{ subnet: "172.77.0.0/24", auxiliary: { host1: "172.77.0.9" } }] },
    },
  },
  pools: [
    {
      id: "p4",
      networkId: "ab12",
      subnet: "172.77.0.0/24",
      range: "172.77.0.128/25",
      gateway: "172.77.0.1",
      userSubnet: true,
    },
    { id: "p6", networkId: "ab12", subnet: "fd00::/64", range: "fd00::/64", gateway: "fd00::1", userSubnet: false },
  ],
  errors: [],
  peers: [],
  services: [],
  endpoints: [
    {
      id: "e1",
      networkId: "ab12",
      sandboxId: "c1",
      containerId: "c1",
      containerName: "web",
      mac: "02:00:00:00:00:01",
      interfaceName: "eth0",
      linkLocal: [],
      names: [],
      ports: [],
      sysctls: {},
      addresses: [
        { address: "172.77.0.129", prefix: 24 },
        { address: "fd00::2", prefix: 64 },
      ],
      gatewayPriority: 0,
    },
  ],
};

test("inspect shows a network with Docker's fields in Docker's order", () => {
  const expected = {
    Name: "my_net",
    Id: "ab12",
    Created: "2026-01-02T03:04:05.678Z",
    Scope: "local",
    Driver: "bridge",
    EnableIPv4: true,
    EnableIPv6: true,
    IPAM: {
      Driver: "default",
      Options: null,
      Config: [
        {
          Subnet: "172.77.0.0/24",
          IPRange: "172.77.0.128/25",
          Gateway: "172.77.0.1",
          AuxiliaryAddresses: { host1: "172.77.0.9" },
        },
        { Subnet: "fd00::/64", Gateway: "fd00::1" },
      ],
    },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: {
      c1: {
        Name: "web",
        EndpointID: "e1",
        MacAddress: "02:00:00:00:00:01",
        IPv4Address: "172.77.0.129/24",
        IPv6Address: "fd00::2/64",
      },
    },
    Options: {},
    Labels: {},
  };
  assert.equal(JSON.stringify(networkJson(detail, true)), JSON.stringify(expected));
});

test("a network of many hosts shows them, this one among them", () => {
  const tunnel = { udpPort: 4789, local: "192.0.2.1", mtu: 1450 };
  const network = { ...detail.network, scope: "cluster", tunnel } as const;
  const peer = (nodeId: string, dataPath: string) => ({ nodeId, dataPath }) as NetworkDetail["peers"][number];
  const peers = [peer("n2", "192.0.2.2"), peer("n3", "192.0.2.3"), peer("n2", "192.0.2.2")];
  const { Peers } = networkJson({ ...detail, network, nodeId: "n1", peers }, true) as { Peers: unknown };
  const hosts = [1, 2, 3].map((n) => ({ Name: `n${n}`, IP: `192.0.2.${n}` }));
  assert.deepEqual(Peers, hosts);
  assert.ok(!Object.hasOwn(networkJson(detail, true), "Peers"));
});

test("a network says on what it stands, and what it could not get", () => {
  const troubled = { ...detail, parent: { link: "eth0", state: "gone" }, errors: ["no link eth0"] } as const;
  const { Status } = networkJson(troubled, true) as { Status: unknown };
  assert.deepEqual(Status, { Parent: { Name: "eth0", State: "gone" }, Errors: ["no link eth0"] });
});

test("a configuration network shows what it was given, and none is called null", () => {
  const { network } = detail;
  const spec = { ...network.spec, driver: "none", configOnly: true };
  const bare = { network: { ...network, spec }, pools: [], endpoints: [], peers: [], services: [], errors: [] };
  const shown = networkJson(bare, true) as { Driver: string; IPAM: { Config: unknown } };
  assert.equal(shown.Driver, "null");
  assert.deepEqual(shown.IPAM.Config, [{ Subnet: "172.77.0.0/24", AuxiliaryAddresses: { host1: "172.77.0.9" } }]);
});

test("list passes on filters of both forms and names no containers since API 1.28", async () => {
  const seen: unknown[] = [];
  const list = (filters: ReadonlyMap<string, readonly string[]>) => {
    seen.push([...filters]);
    return [detail];
  };
  await using server = await serve({ networks: { list } });
  const ask = async (version: string, filters: string) =>
    server.ask("GET", `${version}/networks?filters=${encodeURIComponent(filters)}`);
  const first = await ask("", '{"name":{"a":true,"b":true},"label":{"x=y":true}}');
  assert.deepEqual(first.json[0].Containers, {});
  const second = await ask("/v1.27", '{"name":["a","b"],"label":["x=y"]}');
  assert.deepEqual(Object.keys(second.json[0].Containers), ["c1"]);
  const expected = [
    ["name", ["a", "b"]],
    ["label", ["x=y"]],
  ];
  assert.deepEqual(seen, [expected, expected]);
  for (const filters of ["{", "[]", '{"a":5}', '{"a":[1]}', "null"]) {
    const { status, json } = await ask("", filters);
    assert.equal(status, 400, filters);
    assert.match(json.message, /^invalid filter/);
  }
});

test("connect, disconnect, remove and prune reach the engine", async () => {
  const seen: unknown[] = [];
  const networks = {
    connect: async (...all: unknown[]) => void seen.push(["connect", ...all]),
    disconnect: async (...all: unknown[]) => void seen.push(["disconnect", ...all]),
    remove: async (...all: unknown[]) => void seen.push(["remove", ...all]),
    prune: async () => [],
    inspect: () => detail,
  };
  await using server = await serve({ networks });
  const EndpointConfig = { IPAMConfig: { IPv4Address: "10.0.0.9" }, Aliases: ["db"], GwPriority: 7 };
  const connect = await server.ask("POST", "/networks/my%20net/connect", { body: { Container: "c", EndpointConfig } });
  assert.deepEqual([connect.status, connect.text], [200, ""]);
  assert.equal(
    (await server.ask("POST", "/networks/n/connect", { body: { Container: "c", EndpointConfig: null } })).status,
    200,
  );
  assert.equal(
    (await server.ask("POST", "/networks/a/b/disconnect", { body: { Container: "c", Force: true } })).status,
    200,
  );
  assert.equal((await server.ask("DELETE", "/networks/n")).status, 204);
  assert.deepEqual((await server.ask("POST", "/networks/prune")).json, { NetworksDeleted: null });
  const { message } = (await server.ask("GET", "/networks/n?scope=swarm")).json;
  assert.equal(
    message,
    "network n not found in the swarm: it is this host's own (docker network create -d overlay makes one)",
  );
  const nothing = { linkLocal: [], aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
  assert.deepEqual(seen, [
    ["connect", "my net", "c", { ...nothing, ipv4: "10.0.0.9", aliases: ["db"], gatewayPriority: 7 }],
    ["connect", "n", "c", nothing],
    ["disconnect", "a/b", "c", true],
    ["remove", "n"],
  ]);
});

test("endpoint settings are checked with Docker's texts", () => {
  const wrong = (settings: object, message: string) =>
    assert.throws(() => readEndpointSettings(settings as never), { class: "invalid", message });
  const ipam = (IPAMConfig: object) => ({ IPAMConfig });
  wrong(ipam({ IPv4Address: "fd00::1" }), "invalid endpoint settings:\ninvalid IPv4 address: fd00::1");
  wrong(ipam({ IPv6Address: "10.0.0.1" }), "invalid endpoint settings:\ninvalid IPv6 address: 10.0.0.1");
  wrong(
    ipam({ IPv4Address: "x", IPv6Address: "y", LinkLocalIPs: ["z"] }),
    "invalid endpoint settings:\n* invalid IPv4 address: x\n* invalid IPv6 address: y\n* invalid link-local IP address: z",
  );
  wrong({ MacAddress: "02:42" }, "invalid MAC address 02:42");
  const read = readEndpointSettings({
    IPAMConfig: { IPv6Address: "FD00:0:0::1", LinkLocalIPs: ["169.254.1.1", "FE80::0:1"] },
    MacAddress: "02-42-AC-11-00-05",
  });
  assert.deepEqual([read.ipv6, read.linkLocal, read.mac], ["fd00::1", ["169.254.1.1", "fe80::1"], "02:42:ac:11:00:05"]);
});

test("with verbose, services are shown with their tasks, and the other containers under no name", async () => {
  const [endpoint] = detail.endpoints;
  assert.ok(endpoint);
  const peer = {
    id: "e2",
    networkId: "ab12",
    containerId: "c2",
    containerName: "web.2.t2",
    nodeId: "n2",
    hostname: "h2",
    dataPath: "192.0.2.2",
    mac: "02:00:00:00:00:02",
    addresses: [{ address: "10.0.1.4", prefix: 24 }],
    names: [],
  };
  const service = {
    serviceId: "s1",
    networkId: "ab12",
    name: "web",
    aliases: [],
    addresses: ["10.0.1.2"],
    ports: [{ name: "", protocol: "tcp", target: 80, published: 8080, mode: "ingress" }],
    balance: { by: "rr", local: false },
    keepsClient: true,
  } as const;
  const backend = {
    taskId: "t2",
    serviceId: "s1",
    networkId: "ab12",
    nodeId: "n2",
    name: "web.2.t2",
    addresses: ["10.0.1.4"],
  };
  const services = [
    { service, backends: [backend] },
    { service: { ...service, serviceId: "s2", name: "db", addresses: [], ports: [] }, backends: [] },
  ];
  const tunnel = { udpPort: 4789, local: "192.0.2.1", mtu: 1450 };
  const shown = { ...detail, network: { ...detail.network, tunnel }, hostname: "h1", peers: [peer], services };
  await using server = await serve({ networks: { inspect: () => shown } });
  const { json } = await server.ask("GET", "/networks/n?verbose=true");
  const task = (Name: string, EndpointID: string, EndpointIP: string, Info: object) => ({
    Name,
    EndpointID,
    EndpointIP,
    Info,
  });
  assert.deepEqual(json.Services, {
    "": {
      VIP: "<nil>",
      Ports: [],
      LocalLBIndex: 0,
      Tasks: [task("web", "e1", "172.77.0.129", { "Host IP": "192.0.2.1", Node: "h1" })],
    },
    web: {
      VIP: "10.0.1.2",
      Ports: ["Target: 80, Publish: 8080"],
      LocalLBIndex: 0,
      Tasks: [task("web.2.t2", "e2", "10.0.1.4", { "Host IP": "192.0.2.2", Node: "h2" })],
    },
    db: { VIP: "<nil>", Ports: [], LocalLBIndex: 0, Tasks: [] },
  });
});
