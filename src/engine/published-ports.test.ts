import assert from "node:assert/strict";
import { it } from "node:test";
import { endpointRow, idOf, type NetworkRows, networkRows, putNetwork, sandboxRow } from "../../test/support/rows.ts";
import type { Attachment, Container, PortWish } from "../model/container.ts";
import type { Endpoint } from "../model/endpoint.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { assignGateways, removeEndpoint, wayOutNetwork } from "./attachments.ts";
import type { Parts } from "./parts.ts";
import { portChoices } from "./sandboxes.ts";

const binding = "com.docker.network.bridge.host_binding_ipv4";
const routed = "com.docker.network.bridge.gateway_mode_ipv4";
const [overlay, bridge, wayOut, lan, open, dual] = [
  clusterOf(networkRows({ number: 1, driver: "overlay" })),
  networkRows({ number: 2, options: { [binding]: "127.0.0.2" } }),
  named(networkRows({ number: 3, options: { [binding]: "127.0.0.3" } }), wayOutNetwork),
  networkRows({ number: 4, driver: "macvlan" }),
  networkRows({ number: 5, options: { [routed]: "routed", [binding]: "127.0.0.5" } }),
  networkRows({ number: 6, ipv6: true }),
];
function clusterOf({ network, pools }: NetworkRows): NetworkRows {
  return { network: { ...network, scope: "cluster" }, pools };
}
function named({ network, pools }: NetworkRows, name: string): NetworkRows {
  return { network: { ...network, spec: { ...network.spec, name } }, pools };
}

const wish: PortWish = { protocol: "tcp", containerPort: 80, hostIp: "", hostPort: "8080" };
const attachment = ({ network }: NetworkRows, gatewayPriority = 0): Attachment => ({
  network: network.id,
  linkLocal: [],
  aliases: [],
  links: [],
  driverOptions: {},
  gatewayPriority,
});

/** A running container on these networks, in a store. @param taken host ports that a process has, as `address:port` */
async function started(networks: readonly NetworkRows[], wishes = [wish], taken: ReadonlySet<string> = new Set()) {
  const container = {
    id: idOf("5", 2),
    name: "web",
    spec: { ports: wishes, publishAll: false, exposed: [], sysctls: {}, hostname: "" },
  } as unknown as Container;
  const store = createMemoryStore();
  const drivers = new Map([["macvlan", { lan: {} }]]);
  const asked: string[] = [];
  const portTaken = async (_: string, address: string, port: number) => {
    asked.push(`${address}:${port}`);
    return taken.has(`${address}:${port}`) ? "address already in use" : undefined;
  };
  const host = { portTaken, ephemeralPorts: () => [32_768, 60_999] };
  const parts = { store, host, drivers, settings: { hostBinding: "0.0.0.0" } } as unknown as Parts;
  await store.update((tx) => {
    for (const rows of [overlay, bridge, wayOut, lan, open, dual]) putNetwork(tx, rows);
    tx.put("names", { kind: "network", name: wayOutNetwork, id: wayOut.network.id });
    tx.put("sandboxes", sandboxRow(2));
  });
  /** Connects and disconnects until it is on these. @returns why ports were lost */
  const move = async (to: readonly NetworkRows[]) => {
    const lost: string[] = [];
    const wanted = new Set(to.map(({ network }) => network.id));
    const choices = await portChoices(
      parts,
      container,
      to.map((rows) => attachment(rows)),
    );
    await store.update((tx) => {
      const there = tx.where("endpoints", "sandbox", container.id).filter(({ isWayOut }) => !isWayOut);
      for (const { id, networkId } of there) if (!wanted.has(networkId)) removeEndpoint(tx, id);
      for (const rows of to)
        if (!there.some((e) => e.networkId === rows.network.id)) tx.put("endpoints", endpointOn(rows));
      assignGateways(tx, container, choices, ({ message }) => lost.push(message));
    });
    return lost;
  };
  await move(networks);
  /** Network and host address of what is published; the claims say the same. */
  const published = () => {
    const rows = store.snapshot();
    const endpoints = rows.where("endpoints", "sandbox", container.id).filter(({ ports }) => ports.length > 0);
    const ports = endpoints.flatMap((one) =>
      one.ports.map(
        ({ hostIp, hostPort }) => `${rows.get("networks", one.networkId)?.spec.name} ${hostIp}:${hostPort}`,
      ),
    );
    const bound = endpoints.flatMap((one) =>
      one.ports.flatMap((port) => (port.hostPort === 0 ? [] : [{ ...port, one }])),
    );
    assert.deepEqual(
      new Set(rows.list("ports").map((claim) => `${claim.hostIp}:${claim.hostPort} ${claim.endpointId}`)),
      new Set(bound.map(({ hostIp, hostPort, one }) => `${hostIp}:${hostPort} ${one.id}`)),
    );
    return ports;
  };
  return { store, move, published, asked };
}
/** As the engine makes it: an overlay network has no gateway. */
function endpointOn(rows: NetworkRows): Endpoint {
  const { interfaceName: _, ...endpoint } = endpointRow(rows, { member: 2 });
  const addresses = endpoint.addresses.map(({ address, prefix, gateway }) =>
    rows === overlay || gateway === undefined ? { address, prefix } : { address, prefix, gateway },
  );
  return { ...endpoint, addresses, interfaceName: `eth${rows.network.spec.name.at(-1)}` };
}

it("has published ports at the host address of the network that is the gateway now, and back", async () => {
  const { move, published } = await started([overlay]);
  assert.deepEqual(published(), ["docker_gwbridge 127.0.0.3:8080"]);
  await move([overlay, bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.2:8080"]);
  await move([overlay]);
  assert.deepEqual(published(), ["docker_gwbridge 127.0.0.3:8080"]);
});

it("keeps a host address that was named, and a port that was chosen", async () => {
  const named = { ...wish, hostIp: "127.0.0.9" };
  const any = { ...wish, containerPort: 81, hostPort: "" };
  const { move, published } = await started([overlay], [named, any]);
  const [first = "", second = ""] = published();
  assert.equal(first, "docker_gwbridge 127.0.0.9:8080");
  const port = second.split(":")[1];
  await move([overlay, bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.9:8080", `net2 127.0.0.2:${port}`]);
  await move([bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.9:8080", `net2 127.0.0.2:${port}`]);
});

it("asks the host for what the container has not got yet, and for nothing else", async () => {
  const { move, asked } = await started([bridge], [wish, { ...wish, containerPort: 81, hostPort: "" }]);
  asked.length = 0;
  await move([bridge, overlay]);
  assert.deepEqual(asked, []);
});

it("publishes nothing where the gateway is a router on a LAN, and again when it is not", async () => {
  const { move, published } = await started([bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.2:8080"]);
  await move([lan]);
  assert.deepEqual(published(), []);
  await move([bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.2:8080"]);
});

it("binds nothing on the host for a gateway that routes, from the start and when it becomes one", async () => {
  const { move, published } = await started([open], [{ ...wish, hostIp: "127.0.0.9" }]);
  assert.deepEqual(published(), ["net5 0.0.0.0:0"]);
  await move([bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.9:8080"]);
  await move([open]);
  assert.deepEqual(published(), ["net5 0.0.0.0:0"]);
});

it("has one host port in both families", async () => {
  const { published } = await started([dual], [{ ...wish, hostPort: "" }]);
  const [four = "", six = ""] = published();
  assert.match(four, /^net6 0\.0\.0\.0:\d+$/);
  assert.equal(six, `net6 :::${four.split(":")[1]}`);
  const ports = (await started([dual], [{ ...wish, hostPort: "8080-8082" }], new Set([":::8080"]))).published();
  assert.deepEqual(ports, ["net6 0.0.0.0:8081", "net6 :::8081"]);
});

it("loses a port that a process has where the gateway is then, and says so", async () => {
  const { move, published } = await started([bridge], [wish], new Set(["127.0.0.3:8080"]));
  const [lost = ""] = await move([overlay]);
  assert.match(lost, /failed to bind host port for 127\.0\.0\.3:8080:.*:80\/tcp: address already in use/);
  assert.deepEqual(published(), []);
  await move([bridge]);
  assert.deepEqual(published(), ["net2 127.0.0.2:8080"]);
});

it("takes the host address of published ports from the network that becomes the gateway", async () => {
  const on = async (...networks: NetworkRows[]) => (await started(networks)).published();
  assert.deepEqual(await on(overlay), ["docker_gwbridge 127.0.0.3:8080"]);
  assert.deepEqual(await on(overlay, bridge), ["net2 127.0.0.2:8080"]);
  assert.deepEqual(await on(bridge, overlay), ["net2 127.0.0.2:8080"]);
  assert.deepEqual(await on(lan, bridge), ["net2 127.0.0.2:8080"], "the first name");
  assert.deepEqual(await on(overlay, lan), [], "on a LAN at its own address");
});

it("has no port that a service publishes on every node, and the next one of a range", async () => {
  const service = { serviceId: "s", networkId: "n", name: "shop", aliases: [], addresses: [], keepsClient: true };
  const port = { name: "", protocol: "tcp", target: 80, published: 8080, mode: "ingress" } as const;
  const beside = async (wished: PortWish) => {
    const { store, move, published } = await started([], [wished]);
    const balance = { by: "rr", local: false } as const;
    await store.update((tx) => tx.put("virtualServices", { ...service, ports: [port], balance }));
    return { lost: await move([bridge]), published: published() };
  };
  const { lost, published } = await beside(wish);
  assert.deepEqual([lost.length, published], [1, []]);
  assert.match(lost[0] ?? "", /127\.0\.0\.2:8080:\S* service shop publishes it on every node$/);
  assert.deepEqual(await beside({ ...wish, hostPort: "8080-8081" }), { lost: [], published: ["net2 127.0.0.2:8081"] });
});
