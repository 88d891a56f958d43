import type { AddressPool } from "../../src/model/address-pool.ts";
import type { Endpoint, EndpointAddress, PortBinding } from "../../src/model/endpoint.ts";
import type { Network, NetworkSpec, Tunnel } from "../../src/model/network.ts";
import type { Peer } from "../../src/model/peer.ts";
import type { Sandbox } from "../../src/model/sandbox.ts";
import type { WireguardEnd } from "../../src/model/wireguard.ts";
import type { Transaction } from "../../src/store/store.ts";

/** What a test says of a network; the rest follows from its number: `10.<number>.0.0/16`, `fd00:<number>::/64`. */
export interface NetworkWish {
  /** 1 to 99. */
  readonly number: number;
  readonly driver?: string;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  readonly options?: Readonly<Record<string, string>>;
  readonly vni?: number;
  readonly tunnel?: Tunnel;
}
export interface NetworkRows {
  readonly network: Network;
  readonly pools: readonly AddressPool[];
}

/** An id as the engine makes them: 64 digits, told apart by the first ten, of which drivers derive MACs. @param first one hex digit for the kind of row */
export const idOf = (first: string, number: number): string =>
  `${first}${number.toString(16).padStart(9, "0")}`.padEnd(64, "7");

export function networkRows(wish: NetworkWish): NetworkRows {
  const id = idOf("a", wish.number);
  const spec = specOf(wish);
  const subnets = [
    ...(spec.ipv4 ? ([[`10.${wish.number}.0.0/16`, `10.${wish.number}.0.1`]] as const) : []),
    ...(spec.ipv6 ? ([[`fd00:${wish.number}::/64`, `fd00:${wish.number}::1`]] as const) : []),
  ];
  const pools = subnets.map(([subnet, gateway]) => ({
    id: `${id}/${subnet}`,
    networkId: id,
    subnet,
    range: subnet,
    gateway,
    userSubnet: true,
  }));
  const network: Network = {
    id,
    scope: "local",
    spec,
    pools: pools.map((pool) => pool.id),
    predefined: false,
    ...(wish.vni !== undefined && { vni: wish.vni }),
    ...(wish.tunnel !== undefined && { tunnel: wish.tunnel }),
    ...(wish.tunnel?.encryption !== undefined && { isEncrypted: true }),
    createdAt: "2026-01-01T00:00:00Z",
  };
  return { network, pools };
}

export function specOf({
  number,
  driver = "bridge",
  ipv4 = true,
  ipv6 = false,
  internal = false,
  options = {},
}: NetworkWish): NetworkSpec {
  return {
    name: `net${number}`,
    driver,
    options,
    labels: {},
    ipv4,
    ipv6,
    ipam: { driver: "default", options: {}, subnets: [] },
    internal,
    attachable: false,
    ingress: false,
    configOnly: false,
  };
}

export interface EndpointWish {
  /** 2 to 65,000: the last digits of its addresses and of all its ids. */
  readonly member: number;
  readonly ports?: readonly PortBinding[];
  readonly linkLocal?: readonly string[];
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly interfaceName?: string;
  /** The leaf bridge that it is on; absent: the root. */
  readonly leaf?: number;
  /** A container of another number has the interface. */
  readonly container?: number;
}

/** An endpoint of a network of `networkRows`. */
export function endpointRow({ network, pools }: NetworkRows, wish: EndpointWish): Endpoint {
  const { member, container = member } = wish;
  const number = Number.parseInt(network.id.slice(1, 10), 16);
  const addresses = pools.map(({ subnet, gateway }): EndpointAddress => {
    const six = subnet.includes(":");
    const address = six ? `fd00:${number}::${member.toString(16)}` : `10.${number}.${member >> 8}.${member & 0xff}`;
    return { address, prefix: six ? 64 : 16, ...(!network.spec.internal && { gateway }) };
  });
  const bytes = [number, member >> 8, member & 0xff].map((byte) => byte.toString(16).padStart(2, "0"));
  return {
    id: idOf("e", number * 0x10000 + member),
    networkId: network.id,
    sandboxId: idOf("5", container),
    containerId: idOf("5", container),
    containerName: `c${container}`,
    mac: `02:42:ac:${bytes.join(":")}`,
    interfaceName: wish.interfaceName ?? "eth0",
    addresses,
    linkLocal: wish.linkLocal ?? [],
    names: [`c${container}`],
    ports: wish.ports ?? [],
    sysctls: wish.sysctls ?? {},
    gatewayPriority: 0,
    ...(wish.leaf !== undefined && { leaf: wish.leaf }),
  };
}

/** An endpoint of another host. */
export interface PeerWish extends EndpointWish {
  readonly dataPath: string;
  /** Its host's end of WireGuard. */
  readonly end?: Omit<WireguardEnd, "id">;
}

/** The node of an endpoint of another host. */
const nodeOf = ({ dataPath }: PeerWish) => dataPath;
export const endRow = (wish: PeerWish): WireguardEnd | undefined => wish.end && { id: nodeOf(wish), ...wish.end };

/** As `endpointRow`, on the host whose tunnels end at `dataPath`. */
export function peerRow(rows: NetworkRows, wish: PeerWish): Peer {
  const { id, networkId, containerId, containerName, mac, addresses, names } = endpointRow(rows, wish);
  const { dataPath, end } = wish;
  return {
    id,
    networkId,
    containerId,
    containerName,
    nodeId: nodeOf(wish),
    hostname: dataPath,
    dataPath,
    ...(end !== undefined && { wireguardAddress: end.address }),
    mac,
    addresses,
    names,
  };
}

/** A sandbox whose default routes belong to `gateway`, if anybody's. */
export function sandboxRow(container: number, gateway?: Endpoint, sysctls: Sandbox["sysctls"] = {}): Sandbox {
  return {
    id: idOf("5", container),
    containerId: idOf("5", container),
    ...(gateway !== undefined && { gateway4: gateway.id, gateway6: gateway.id }),
    resolver: false,
    dns: { servers: [], search: [], options: [] },
    sysctls,
  };
}

export function putNetwork(tx: Transaction, { network, pools }: NetworkRows): void {
  for (const pool of pools) tx.put("pools", pool);
  tx.put("networks", network);
}

/** A container with one interface. @returns its endpoint */
export function putContainer(tx: Transaction, rows: NetworkRows, wish: EndpointWish): Endpoint {
  const endpoint = endpointRow(rows, wish);
  tx.put("sandboxes", sandboxRow(wish.container ?? wish.member, endpoint));
  tx.put("endpoints", endpoint);
  return endpoint;
}

export function deleteContainer(tx: Transaction, endpoint: Endpoint): void {
  tx.delete("endpoints", endpoint.id);
  tx.delete("sandboxes", endpoint.sandboxId);
}

export function deleteNetwork(tx: Transaction, { network }: NetworkRows): void {
  for (const pool of network.pools) tx.delete("pools", pool);
  tx.delete("networks", network.id);
}
