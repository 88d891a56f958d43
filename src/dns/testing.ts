import type { Endpoint } from "../model/endpoint.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import { keyOf, tableNames } from "../store/rows.ts";
import type { RowKey, Snapshot } from "../store/store.ts";

/** A network by its name. */
export function network(id: string, more: Partial<Network["spec"]> = {}, predefined = false): Network {
  const ipam = { driver: "default", options: {}, subnets: [] };
  const flags = { ipv4: true, ipv6: false, internal: false, attachable: false, ingress: false, configOnly: false };
  const spec = { name: id, driver: "bridge", options: {}, labels: {}, ipam, ...flags, ...more };
  return { id, scope: "local", spec, pools: [], predefined, createdAt: "" };
}
/** An endpoint of a sandbox on a network, named after it. */
export function endpoint(
  networkId: string,
  sandboxId: string,
  addresses: string[],
  more: Partial<Endpoint> = {},
): Endpoint {
  return {
    id: `${networkId}-${sandboxId}`,
    networkId,
    sandboxId,
    containerId: sandboxId,
    containerName: sandboxId,
    mac: "02:00:00:00:00:01",
    interfaceName: "eth0",
    addresses: addresses.map((address) => ({ address, prefix: 24 })),
    linkLocal: [],
    names: [sandboxId],
    ports: [],
    sysctls: {},
    gatewayPriority: 0,
    ...more,
  };
}
/** An endpoint of another host. */
export const peer = (networkId: string, name: string, addresses: string[], more: Partial<Peer> = {}): Peer => ({
  id: `${networkId}-${name}`,
  networkId,
  containerId: name,
  containerName: name,
  nodeId: "other",
  hostname: "other",
  dataPath: "192.0.2.2",
  mac: "02:00:00:00:00:02",
  addresses: addresses.map((address) => ({ address, prefix: 24 })),
  names: [name],
  ...more,
});
/** What the first commit of a watch names: every row. */
export const keysIn = (rows: Snapshot): RowKey[] =>
  tableNames.flatMap((table) => rows.list(table).map((row) => ({ table, key: keyOf(table, row) })));
