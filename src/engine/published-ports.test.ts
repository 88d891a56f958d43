import assert from "node:assert/strict";
import { it } from "node:test";
import { endpointRow, idOf, type NetworkRows, networkRows, putNetwork, sandboxRow } from "../../test/support/rows.ts";
import type { Attachment, Container, PortWish } from "../model/container.ts";
import type { Endpoint } from "../model/endpoint.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Transaction } from "../store/store.ts";
import { assignGateways, removeEndpoint, wayOutNetwork } from "./attachments.ts";
import type { Parts } from "./parts.ts";
import { publishedPorts } from "./ports.ts";
import { portChoices } from "./sandboxes.ts";

const binding = "com.docker.network.bridge.host_binding_ipv4";
const [overlay, bridge, wayOut, lan] = [
  clusterOf(networkRows({ number: 1, driver: "overlay" })),
  networkRows({ number: 2, options: { [binding]: "127.0.0.2" } }),
  named(networkRows({ number: 3, options: { [binding]: "127.0.0.3" } }), wayOutNetwork),
  networkRows({ number: 4, driver: "macvlan" }),
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
const container = {
  id: idOf("5", 2),
  name: "web",
  spec: { ports: [wish], publishAll: false, exposed: [], sysctls: {}, hostname: "" },
} as unknown as Container;

/** A running container on these networks, in a store. */
async function started(...networks: readonly NetworkRows[]) {
  const store = createMemoryStore();
  const drivers = new Map([["macvlan", { lan: {} }]]);
  const host = { portTaken: async () => undefined, ephemeralPorts: () => [32_768, 60_999] };
  const parts = { store, host, drivers, settings: { hostBinding: "0.0.0.0" } } as unknown as Parts;
  await store.update((tx) => {
    for (const rows of [overlay, bridge, wayOut, lan]) putNetwork(tx, rows);
    tx.put("names", { kind: "network", name: wayOutNetwork, id: wayOut.network.id });
  });
  const choices = await portChoices(
    parts,
    container,
    networks.map((rows) => attachment(rows)),
  );
  await store.update((tx) => {
    tx.put("sandboxes", sandboxRow(2));
    for (const rows of networks) tx.put("endpoints", endpointOn(rows));
    assignGateways(tx, container, choices);
  });
  const change = (body: (tx: Transaction) => void) => store.update(body);
  /** Network and host address of what is published; the claims say the same. */
  const published = () => {
    const rows = store.snapshot();
    const endpoints = rows.where("endpoints", "sandbox", container.id).filter(({ ports }) => ports.length > 0);
    const ports = endpoints.flatMap((one) =>
      one.ports.map(
        ({ hostIp, hostPort }) => `${rows.get("networks", one.networkId)?.spec.name} ${hostIp}:${hostPort}`,
      ),
    );
    const claims = rows.list("ports").map((one) => `${one.hostIp}:${one.hostPort} ${one.endpointId}`);
    assert.deepEqual(
      claims,
      endpoints.flatMap((one) => one.ports.map((port) => `${port.hostIp}:${port.hostPort} ${one.id}`)),
    );
    return ports;
  };
  return { change, published };
}
/** As the engine makes it: an overlay network has no gateway. */
function endpointOn(rows: NetworkRows): Endpoint {
  const { interfaceName: _, ...endpoint } = endpointRow(rows, { member: 2 });
  const addresses = endpoint.addresses.map(({ address, prefix, gateway }) =>
    rows === overlay || gateway === undefined ? { address, prefix } : { address, prefix, gateway },
  );
  return { ...endpoint, addresses, interfaceName: `eth${rows.network.spec.name.at(-1)}` };
}

it("moves published ports from the way out to a bridge network, and back", async () => {
  const { change, published } = await started(overlay);
  assert.deepEqual(published(), ["docker_gwbridge 127.0.0.3:8080"]);
  await change((tx) => {
    tx.put("endpoints", endpointOn(bridge));
    assignGateways(tx, container, []);
  });
  assert.deepEqual(published(), ["net2 127.0.0.3:8080"]);
  await change((tx) => {
    const placed = publishedPorts(tx, container.id);
    removeEndpoint(tx, endpointOn(bridge).id);
    assignGateways(tx, container, [], placed);
  });
  assert.deepEqual(published(), ["docker_gwbridge 127.0.0.3:8080"]);
});

it("takes the host address of published ports from the network that becomes the gateway", async () => {
  assert.deepEqual((await started(overlay)).published(), ["docker_gwbridge 127.0.0.3:8080"]);
  assert.deepEqual((await started(overlay, bridge)).published(), ["net2 127.0.0.2:8080"]);
  assert.deepEqual((await started(bridge, overlay)).published(), ["net2 127.0.0.2:8080"]);
  assert.deepEqual((await started(lan, bridge)).published(), ["net2 127.0.0.2:8080"], "the first name");
  assert.deepEqual((await started(overlay, lan)).published(), [], "on a LAN at its own address");
});
