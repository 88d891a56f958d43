import assert from "node:assert/strict";
import { test } from "node:test";
import { rollBackService } from "../cluster/services.ts";
import { newNode } from "../cluster/testing.ts";
import type { Service } from "../model/service.ts";
import type { Tables } from "../store/tables.ts";
import { newSpec, newTask, onNetwork, playCluster, type PlayedCluster, port } from "./cluster-testing.ts";
import { createServices } from "./services.ts";

const rpc = (code: string, text: string) => `rpc error: code = ${code} desc = ${text}`;
const claimsOf = ({ store }: PlayedCluster, owner: string) =>
  store
    .snapshot()
    .where("claims", "owner", owner)
    .map(({ address }) => address);
const published = ({ store }: PlayedCluster) =>
  store
    .snapshot()
    .list("names")
    .filter(({ kind }) => kind === "published")
    .map(({ name }) => name);
const virtual = ({ store }: PlayedCluster, id: string): readonly Tables["virtualServices"][] =>
  store.snapshot().where("virtualServices", "service", id);

async function play() {
  const cluster = await playCluster();
  const services = createServices(cluster.parts);
  const shop = await cluster.network("shop");
  const six = await cluster.network("six", { ipv6: true });
  const ingress = cluster.store
    .snapshot()
    .list("networks")
    .find(({ spec }) => spec.ingress);
  assert.ok(ingress);
  /** Changes the service as it is now. */
  const update = (
    name: string,
    spec: Parameters<typeof newSpec>[0],
    registryAuthFrom: "spec" | "previous-spec" = "spec",
  ) =>
    services.update(name, {
      version: services.inspect(name).version,
      spec: newSpec({ name, ...spec }),
      registryAuthFrom,
    });
  return { cluster, services, shop, six, ingress, update };
}

test("a service claims its name, its ports and an address of each family on each network", async () => {
  const { cluster, services, shop, six, ingress } = await play();
  const ports = [port(8080), port(0, { target: 90, protocol: "udp" }), port(7070, { mode: "host" })];
  const labels = { "tombolo.mesh": "snat", "tombolo.idle": "15m" };
  const task = { networks: [onNetwork(shop.id, ["al"]), onNetwork(six.id)] };
  const id = await services.create(newSpec({ labels, task, endpoint: { mode: "vip", ports } }));
  assert.match(id, /^[0-9a-z]{25}$/);
  const service = services.inspect("web");
  assert.deepEqual(
    service.virtualAddresses.map(({ network, addresses }) => [
      network,
      addresses.map((a) => `${a.address}/${a.prefix}`),
    ]),
    [
      [ingress.id, ["10.0.0.2/24"]],
      [shop.id, ["10.0.1.2/24"]],
      [six.id, ["10.0.2.2/24", service.virtualAddresses[2]?.addresses[1]?.address + "/64"]],
    ],
  );
  assert.equal(claimsOf(cluster, id).length, 4);
  assert.deepEqual(
    service.ports.map((one) => one.published),
    [8080, 30_000, 7070],
  );
  assert.deepEqual(published(cluster), ["tcp|8080", "udp|30000"]);
  const rows = virtual(cluster, id);
  const on = (network: string) => rows.find(({ networkId }) => networkId === network);
  assert.deepEqual([rows.length, on(shop.id)?.aliases, on(shop.id)?.ports], [3, ["al"], []]);
  assert.deepEqual(
    [on(ingress.id)?.ports.length, on(ingress.id)?.keepsClient, on(ingress.id)?.idle],
    [2, false, 900_000],
  );
  const again = {
    class: "conflict",
    message: rpc("AlreadyExists", "name conflicts with an existing object: service web already exists"),
  };
  await assert.rejects(services.create(newSpec()), again);
  await services.remove(id.slice(0, 9));
  assert.deepEqual([claimsOf(cluster, id), published(cluster), virtual(cluster, id)], [[], [], []]);
  assert.throws(() => services.inspect("web"), { class: "not-found", message: "service web not found" });
  await assert.rejects(services.remove("web"), { class: "not-found", message: "service web not found" });
  await services.create(newSpec());
});

test("with dnsrr there is no virtual address, and clients find the tasks", async () => {
  const { cluster, services, shop, update } = await play();
  const task = { networks: [onNetwork(shop.id)] };
  const id = await services.create(newSpec({ task, endpoint: { mode: "dnsrr", ports: [] } }));
  assert.deepEqual([services.inspect(id).virtualAddresses, claimsOf(cluster, id)], [[], []]);
  assert.deepEqual(
    virtual(cluster, id).map(({ addresses }) => addresses),
    [[]],
  );
  await update("web", { task });
  assert.deepEqual(virtual(cluster, id)[0]?.addresses, ["10.0.1.2"]);
  await update("web", { task, endpoint: { mode: "dnsrr", ports: [] } });
  assert.deepEqual([services.inspect(id).virtualAddresses, claimsOf(cluster, id)], [[], []]);
});

test("an update keeps what stays, claims what is new, gives back what is gone", async () => {
  const { cluster, services, shop, six, ingress, update } = await play();
  const first = {
    task: { networks: [onNetwork(shop.id)] },
    endpoint: { mode: "vip", ports: [port(0), port(8080)] },
  } as const;
  const id = await services.create(newSpec(first));
  const addressOn = (service: Service, network: string) =>
    service.virtualAddresses.find((one) => one.network === network)?.addresses[0]?.address;
  const before = services.inspect(id);
  await cluster.store.update((tx) =>
    tx.put("services", { ...before, update: { state: "completed", startedAt: 1, message: "" } }),
  );
  await update("web", {
    task: { networks: [onNetwork(six.id)] },
    endpoint: { mode: "vip", ports: [port(0), port(8081)] },
  });
  const after = services.inspect(id);
  assert.equal(addressOn(after, ingress.id), addressOn(before, ingress.id));
  assert.deepEqual([addressOn(after, shop.id), addressOn(after, six.id)], [undefined, "10.0.2.2"]);
  assert.deepEqual(
    after.ports.map((one) => one.published),
    [30_000, 8081],
  );
  assert.deepEqual(published(cluster), ["tcp|30000", "tcp|8081"]);
  assert.deepEqual(
    claimsOf(cluster, id).filter((address) => address.startsWith("10.0.1.")),
    [],
  );
  assert.deepEqual([after.version, after.update, after.previous?.spec], [2, undefined, before.spec]);
  await update("web", { task: { networks: [onNetwork(six.id)] } });
  assert.deepEqual([published(cluster), services.inspect(id).virtualAddresses.length], [[], 1]);
});

test("tasks are made anew when what they are made from is another, and only then", async () => {
  const { services, shop, update } = await play();
  const ports = [port(8080)];
  await services.create(newSpec({ endpoint: { mode: "vip", ports } }));
  const version = () => services.inspect("web").templateVersion;
  const same: readonly Parameters<typeof newSpec>[0][] = [
    { mode: { kind: "replicated", replicas: 3 }, endpoint: { mode: "vip", ports } },
    { endpoint: { mode: "vip", ports: [port(8081), port(0, { target: 1 })] } },
    { endpoint: { mode: "vip", ports }, labels: { a: "b" }, task: { serviceLabels: { a: "b" }, registryAuth: "x" } },
    {
      endpoint: { mode: "vip", ports },
      task: { placement: { constraints: ["node.role==worker"], spread: [], maxPerNode: 0, platforms: [] } },
    },
  ];
  for (const spec of same) {
    await update("web", spec);
    assert.equal(version(), 1);
  }
  await update("web", { endpoint: { mode: "vip", ports: [...ports, port(7070, { mode: "host" })] } });
  assert.equal(version(), 6);
  await update("web", { task: { networks: [onNetwork(shop.id)] } });
  assert.equal(version(), 7);
  await update("web", { task: { networks: [onNetwork(shop.id)], forceUpdate: 1 } });
  assert.equal(version(), 8);
});

test("a rollback goes to the spec before, with its claims, and back again", async () => {
  const { cluster, services, update } = await play();
  const none = rpc("FailedPrecondition", `service ${await services.create(newSpec())} does not have a previous spec`);
  await assert.rejects(services.rollBack("web", 1), { class: "invalid", message: none });
  await update("web", { task: { forceUpdate: 1 }, endpoint: { mode: "vip", ports: [port(8080)] } });
  const late = { class: "system", message: rpc("Unknown", "update out of sequence") };
  await assert.rejects(services.rollBack("web", 1), late);
  await services.rollBack("web", 2);
  const back = services.inspect("web");
  assert.deepEqual([back.templateVersion, back.spec.task.forceUpdate, published(cluster)], [1, 0, []]);
  assert.deepEqual([back.update?.state, back.update?.message], ["rollback_started", "manually requested rollback"]);
  await services.rollBack("web", 3);
  const again = services.inspect("web");
  assert.deepEqual([again.templateVersion, again.version, published(cluster)], [2, 4, ["tcp|8080"]]);
  await update("web", { task: { forceUpdate: 2 } });
  assert.equal(services.inspect("web").templateVersion, 5);
  await cluster.store.update((tx) => rollBackService(tx, services.inspect("web"), { message: "failed" }, 9));
  assert.equal(services.inspect("web").previous, undefined);
});

test("a job that is rolled back begins another run, and is never said to be under way", async () => {
  const { services, update } = await play();
  for (const [name, mode] of [
    ["job", { kind: "replicated-job", total: 3, concurrent: 2 }],
    ["each", { kind: "global-job" }],
  ] as const) {
    await services.create(newSpec({ name, mode }));
    await update(name, { mode, task: { forceUpdate: 1 } });
    await services.rollBack(name, 2);
    const { update: status, job, spec } = services.inspect(name);
    assert.deepEqual([status, job?.iteration, spec.task.forceUpdate], [undefined, 2, 0]);
  }
});

test("another version, name or mode is refused with Docker's texts", async () => {
  const { services, update } = await play();
  await services.create(newSpec());
  const change = { spec: newSpec(), registryAuthFrom: "spec" } as const;
  const refused = (version: number, spec: typeof change.spec, found: object) =>
    assert.rejects(services.update("web", { ...change, version, spec }), found);
  await refused(2, newSpec(), { class: "system", message: rpc("Unknown", "update out of sequence") });
  const renamed = { class: "not-implemented", message: rpc("Unimplemented", "renaming services is not supported") };
  await refused(1, newSpec({ name: "other" }), renamed);
  const mode = { class: "not-implemented", message: rpc("Unimplemented", "service mode change is not allowed") };
  await refused(1, newSpec({ mode: { kind: "global" } }), mode);
  await assert.rejects(services.update("db", { ...change, version: 1 }), { class: "not-found" });
  await assert.rejects(update("web", {}, "previous-spec"), { message: "service does not have a previous spec" });
});

test("a port that another service has is refused, and the service is named", async () => {
  const { cluster, services, update } = await play();
  const spec = (name: string, ...ports: ReturnType<typeof port>[]) =>
    newSpec({ name, endpoint: { mode: "vip", ports } });
  const id = await services.create(spec("web", port(8080)));
  const host = await services.create(spec("host", port(7070, { mode: "host" })));
  await services.create(spec("host2", port(7070, { mode: "host" })));
  const taken = (number: number, name: string, holder: string, as: string) => ({
    class: "invalid",
    message: rpc("InvalidArgument", `port '${number}' is already in use by service '${name}' (${holder}) as ${as}`),
  });
  const ingress = taken(8080, "web", id, "an ingress port");
  await assert.rejects(services.create(spec("a", port(8080, { target: 1 }))), ingress);
  await assert.rejects(services.create(spec("a", port(8080, { mode: "host" }))), ingress);
  await assert.rejects(update("host", { endpoint: { mode: "vip", ports: [port(8080)] } }), ingress);
  const other =
    cluster.store
      .snapshot()
      .list("services")
      .find((one) => one.spec.name === "host2")?.id ?? "";
  const holder = [host, other].toSorted()[1] === host ? ["host", host] : ["host2", other];
  await assert.rejects(
    services.create(spec("a", port(7070))),
    taken(7070, holder[0] ?? "", holder[1] ?? "", "a host-published port"),
  );
  await services.create(spec("udp", port(8080, { protocol: "udp" })));
  await update("web", { endpoint: { mode: "vip", ports: [port(8080, { mode: "host" })] } });
  assert.deepEqual(published(cluster), ["udp|8080"]);
  assert.deepEqual(cluster.store.snapshot().get("names", "service|a"), undefined);
});

test("a port that a container of this host has published is refused", async () => {
  const { cluster, services, update } = await play();
  await services.create(newSpec({ endpoint: { mode: "vip", ports: [port(8080)] } }));
  for (const hostPort of [8080, 8081])
    await cluster.parts.store.update((tx) =>
      tx.insert("ports", { protocol: "tcp", hostIp: "0.0.0.0", hostPort, endpointId: "e1" }),
    );
  const message = rpc("InvalidArgument", "port '8081' is already in use by container 'e1' on node 'h1'");
  await assert.rejects(update("web", { endpoint: { mode: "vip", ports: [port(8081)] } }), {
    class: "invalid",
    message,
  });
  await update("web", { endpoint: { mode: "vip", ports: [port(8080), port(8081, { protocol: "udp" })] } });
});

test("a port that a process of this host, or a container of any, has is refused and not chosen", async () => {
  const { cluster, services } = await play();
  const create = (one: ReturnType<typeof port>) =>
    services.create(newSpec({ name: "a", endpoint: { mode: "vip", ports: [one] } }));
  const refused = (one: ReturnType<typeof port>, text: string) =>
    assert.rejects(create(one), { class: "invalid", message: rpc("InvalidArgument", text) });
  cluster.taken.add("tcp|22");
  await refused(port(22), "port '22' is already in use by a process on node 'h1'");
  const on = (address: string, number: number) => ({ protocol: "tcp", address, port: number, container: "shop" });
  const program = { protocol: "tcp", address: "127.0.0.1", port: 25 };
  const takenPorts = [on("0.0.0.0", 8080), on("192.0.2.7", 8081), on("::", 30_000), program];
  await cluster.store.update((tx) => tx.insert("nodes", newNode({ id: "w", hostname: "h2", takenPorts })));
  await refused(port(8080), "port '8080' is already in use by container 'shop' on node 'h2'");
  await refused(port(25), "port '25' is already in use by a process on node 'h2'");
  await refused(port(8081), "port '8081' is already in use by container 'shop' on node 'h2'");
  assert.deepEqual(cluster.store.snapshot().list("services"), []);
  assert.deepEqual(cluster.store.snapshot().get("names", "service|a"), undefined);
  await create(port(0));
  assert.deepEqual(services.inspect("a").ports[0]?.published, 30_001);
  await services.remove("a");
  for (const free of [
    port(8081, { address: "192.0.2.8" }),
    port(8080, { protocol: "udp" }),
    port(8080, { mode: "host" }),
  ]) {
    await create(free);
    await services.remove("a");
  }
});

test("an address for published ports that no node has is refused, and one that is gone later stays", async () => {
  const { cluster, services, update } = await play();
  const node = (hostAddresses: readonly string[]) =>
    cluster.store.update((tx) => tx.put("nodes", { ...cluster.manager, hostAddresses }));
  const spec = { endpoint: { mode: "vip", ports: [port(8080, { address: "192.0.2.7" })] } } as const;
  const message = "label tombolo.publish-address: no node of the swarm has the address 192.0.2.7";
  await node(["192.0.2.1"]);
  await assert.rejects(services.create(newSpec(spec)), { class: "invalid", message });
  assert.deepEqual([cluster.store.snapshot().list("services"), published(cluster)], [[], []]);
  await services.create(newSpec());
  await assert.rejects(update("web", spec), { class: "invalid", message });
  await node(["192.0.2.1", "192.0.2.7"]);
  await update("web", spec);
  await node(["192.0.2.1"]);
  await update("web", { ...spec, task: { forceUpdate: 1 } });
  assert.equal(services.inspect("web").ports[0]?.address, "192.0.2.7");
});

test("constraints, networks, secrets, configs and images are checked", async () => {
  const { cluster, services, shop, ingress } = await play();
  const refused = (task: object, errorClass: string, message: string) =>
    assert.rejects(services.create(newSpec({ task })), { class: errorClass, message });
  const explicit = 'Service cannot be explicitly attached to the ingress network "ingress"';
  await refused({ networks: [onNetwork(ingress.id)] }, "invalid", rpc("InvalidArgument", explicit));
  await refused({ networks: [onNetwork("gone")] }, "not-found", "network gone not found");
  const driverOption = (key: string, value: string) => ({
    networks: [{ ...onNetwork(shop.id), driverOptions: { [key]: value } }],
  });
  const options = "known are com.docker.network.endpoint.ifname and com.docker.network.endpoint.sysctls";
  await refused(driverOption("speed", "high"), "invalid", `unknown endpoint option "speed": ${options}`);
  const interfaceName = driverOption("com.docker.network.endpoint.ifname", "a/b");
  await refused(interfaceName, "invalid", "invalid interface name: a/b");
  const placement = { constraints: ["node.role=manager"], spread: [], maxPerNode: 0, platforms: [] };
  await refused({ placement }, "invalid", rpc("InvalidArgument", "constraint expected one operator from ==, !="));
  const file = (name: string) => ({ id: name, name, target: name, uid: 0, gid: 0, mode: 0o444 });
  await refused({ secrets: [file("a")] }, "invalid", rpc("InvalidArgument", "secret not found: a"));
  await refused({ configs: [file("a"), file("b")] }, "invalid", rpc("InvalidArgument", "configs not found: a, b"));
  const { container } = newSpec().task;
  const image = 'ContainerSpec: "Bad$" is not a valid repository/tag';
  await refused({ container: { ...container, image: "Bad$" } }, "invalid", rpc("InvalidArgument", image));
  const placed = (placement: object) => ({ placement: { ...newSpec().task.placement, ...placement } });
  const operator = rpc("InvalidArgument", "constraint expected one operator from ==, !=");
  await refused(placed({ constraints: ["node.role"] }), "invalid", operator);
  const spread = "placement preference spread=rack is not known: node.labels.KEY, for one, is";
  await refused(placed({ spread: ["node.labels.dc", "rack"] }), "invalid", spread);
  const least = newSpec({ balance: { by: "least", local: false } });
  const noLeast = "tombolo.lb=least is not for the balancer nft, which has rr, random, source, and is that of h1";
  await assert.rejects(services.create(least), { class: "invalid", message: noLeast });
  await cluster.store.update((tx) => tx.put("nodes", { ...cluster.manager, balancer: "ipvs" }));
  await services.create(least);
  const second = { ...cluster.manager, id: "second0000000000000000000", hostname: "h2" };
  await cluster.store.update((tx) => tx.put("nodes", second));
  await assert.rejects(services.create(newSpec({ name: "web2", balance: least.balance })), {
    class: "invalid",
    message: noLeast.replace("h1", "h2"),
  });
  await cluster.store.update((tx) => tx.put("nodes", { ...second, status: { ...second.status, state: "down" } }));
  await services.create(newSpec({ name: "web2", balance: least.balance }));
  const name = rpc("InvalidArgument", "name must be valid as a DNS name component");
  await assert.rejects(services.create(newSpec({ name: "w_" })), { class: "invalid", message: name });
  const twice = newSpec({
    name: "web3",
    task: { networks: [0, 1].map(() => ({ network: shop.id, aliases: [], driverOptions: {} })) },
  });
  await assert.rejects(services.create(twice), { message: rpc("InvalidArgument", "network shop is named twice") });
  assert.deepEqual(services.networkIds(["shop", shop.id, shop.id.slice(0, 12)]), [shop.id, shop.id, shop.id]);
  assert.throws(() => services.networkIds(["nope"]), { class: "not-found", message: "network nope not found" });
  await cluster.parts.store.update((tx) => {
    tx.insert("networks", { ...shop, id: "l1", scope: "local", spec: { ...shop.spec, name: "loc" } });
    tx.insert("names", { kind: "network", name: "loc", id: "l1" });
  });
  assert.throws(() => services.networkIds(["loc"]), {
    class: "forbidden",
    message: /^The network loc cannot be used with services\. Only/,
  });
});

test("a login that is not said again stays", async () => {
  const { services, update } = await play();
  await services.create(newSpec({ task: { registryAuth: "one" } }));
  const auth = () => services.inspect("web").spec.task.registryAuth;
  await update("web", {});
  assert.equal(auth(), "one");
  await update("web", { task: { registryAuth: "two" } });
  await update("web", {}, "previous-spec");
  assert.equal(auth(), "one");
});

test("jobs run again with each update; lists count what runs and what is done", async () => {
  const { cluster, services, update } = await play();
  const mode = { kind: "replicated-job", total: 3, concurrent: 2 } as const;
  const id = await services.create(newSpec({ name: "job", mode }));
  assert.equal(services.inspect("job").job?.iteration, 0);
  await update("job", { mode });
  assert.equal(services.inspect("job").job?.iteration, 1);
  const web = await services.create(newSpec({ mode: { kind: "global" }, labels: { a: "b" } }));
  const complete = { state: "complete", at: 0, message: "", error: "" } as const;
  const [pending, shutdown] = [{ ...complete, state: "pending" } as const, { ...complete, state: "shutdown" } as const];
  await cluster.store.update((tx) => {
    tx.insert("nodes", newNode({ id: "lost", status: { state: "down", message: "", address: "" } }));
    const task = (key: string, change: Parameters<typeof newTask>[1]) =>
      tx.insert("tasks", newTask(key, { nodeId: cluster.manager.id, ...change }));
    task("a", { serviceId: web });
    task("b", { serviceId: web, desired: "ready", status: pending });
    task("c", { serviceId: web, desired: "shutdown", status: shutdown });
    task("on a node that is down", { serviceId: web, nodeId: "lost", desired: "shutdown" });
    task("on one that was removed", { serviceId: web, nodeId: "gone", desired: "shutdown" });
    task("d", { serviceId: id, jobIteration: 0, desired: "complete", status: complete });
    task("e", { serviceId: id, jobIteration: 1, desired: "complete", status: complete });
    task("f", { serviceId: id, jobIteration: 1, desired: "complete" });
    task("g", { serviceId: id, jobIteration: 1, desired: "complete", nodeId: "lost" });
    tx.insert("tasks", newTask("fits nowhere", { serviceId: web, status: pending }));
  });
  const list = (filters: Record<string, string[]>) =>
    services.list(new Map(Object.entries(filters)), true).map(({ service, status }) => [service.spec.name, status]);
  assert.deepEqual(list({ name: ["we"] }), [["web", { running: 1, desired: 2, completed: 0 }]]);
  assert.deepEqual(list({ mode: ["replicated-job"] }), [["job", { running: 1, desired: 2, completed: 1 }]]);
  assert.deepEqual(
    [list({ label: ["a=b"] }).length, list({ id: [id] }).length, list({ mode: ["x"] }).length],
    [1, 1, 0],
  );
  assert.throws(() => list({ foo: ["x"] }), { class: "invalid", message: "invalid filter 'foo'" });
});
