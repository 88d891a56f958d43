import type { Endpoint } from "../../src/model/endpoint.ts";
import type { Tunnel } from "../../src/model/network.ts";
import { ingressSandbox, type Sandbox } from "../../src/model/sandbox.ts";
import type { Backend, ServicePort, VirtualService } from "../../src/model/service.ts";
import { ingressMacPrefix } from "../../src/lib/mac.ts";
import type { RowChange } from "./mesh-host.ts";
import { endpointRow, idOf, type NetworkRows, networkRows, peerRow, sandboxRow } from "./rows.ts";

/** Of networks of the cluster and of services: 25 digits. */
export const shortId = (first: string, number: number) => idOf(first, number).slice(0, 25);

/** The address of host N on the wire between the hosts. */
export const hostAddress = (host: number, six = false) => (six ? `2001:db8::${host}` : `192.0.2.${host}`);

const numbers = { ingress: 1, shop: 2, gateway: 18 } as const;
/** The address of a member on a network. */
export const addressOf = (network: keyof typeof numbers, member: number, six = false) =>
  six ? `fd00:${numbers[network]}::${member.toString(16)}` : `10.${numbers[network]}.${member >> 8}.${member & 0xff}`;
/** Members that are virtual addresses. */
export const virtualMember = 200;

/** A network of the cluster as a host has it. */
export function overlayOn(host: number, name: "ingress" | "shop"): NetworkRows {
  const tunnel: Tunnel = { udpPort: 4789, local: hostAddress(host), mtu: 1450 };
  const rows = networkRows({ number: numbers[name], driver: "overlay", ipv6: true, vni: 4096 + numbers[name], tunnel });
  const id = rows.network.id.slice(0, 25);
  const pools = rows.pools.map((pool) => ({ ...pool, id: `${id}/${pool.subnet}`, networkId: id }));
  const spec = { ...rows.network.spec, name, ingress: name === "ingress" };
  return { network: { ...rows.network, id, scope: "cluster", spec, pools: pools.map((pool) => pool.id) }, pools };
}

/** The bridge by which containers of a host reach the world; every host has the same subnet. */
export const gateway: NetworkRows = networkRows({
  number: numbers.gateway,
  ipv6: true,
  options: { "com.docker.network.bridge.enable_icc": "false" },
});

const networkChanges = ({ network, pools }: NetworkRows): RowChange[] => [
  ...pools.map((pool): RowChange => ["pools", pool]),
  ["networks", network],
];
/** What every host has. */
export const hostChanges = (host: number): RowChange[] =>
  [overlayOn(host, "ingress"), overlayOn(host, "shop"), gateway].flatMap(networkChanges);

/** Endpoints on networks of the cluster lead nowhere else. */
function endpointOn(rows: NetworkRows, member: number, sandboxId: string, index: number): Endpoint {
  const { addresses, ...endpoint } = endpointRow(rows, { member, interfaceName: `eth${index}` });
  const isWayOut = rows === gateway;
  return {
    ...endpoint,
    sandboxId,
    addresses: isWayOut ? addresses : addresses.map(({ gateway: _, ...address }) => address),
    ...(isWayOut && { isWayOut: true as const }),
  };
}

/** A container with a leg on these networks, and its way out. Its number is its last digits on all of them. */
export function containerChanges(
  host: number,
  member: number,
  networks: readonly ("ingress" | "shop")[],
): readonly RowChange[] {
  const id = idOf("5", member);
  const legs = networks.map((name, index) => endpointOn(overlayOn(host, name), member, id, index));
  const out = endpointOn(gateway, member, id, legs.length);
  return [["sandboxes", sandboxRow(member, out)], ...[...legs, out].map((leg): RowChange => ["endpoints", leg])];
}

/** A container on a bridge network of its host. */
export function bridgeChanges(member: number): readonly RowChange[] {
  const rows = networkRows({ number: 30, ipv6: true });
  const endpoint = endpointRow(rows, { member });
  return [...networkChanges(rows), ["sandboxes", sandboxRow(member, endpoint)], ["endpoints", endpoint]];
}

const macOf = (host: number) => `${ingressMacPrefix}00:00:${host.toString(16).padStart(2, "0")}`;
/** Member numbers of ingress sandboxes: on the ingress network one for each host, on the gateway bridge the same everywhere. */
export const entryMember = (host: number) => 100 + host;
export const entryOutside = 2;

export function entryChanges(host: number): readonly RowChange[] {
  const inside = { ...endpointOn(overlayOn(host, "ingress"), entryMember(host), ingressSandbox, 0), mac: macOf(host) };
  const outside = endpointOn(gateway, entryOutside, ingressSandbox, 1);
  const sandbox: Sandbox = { ...sandboxRow(0, outside), id: ingressSandbox, containerId: ingressSandbox };
  return [
    ["sandboxes", sandbox],
    ["endpoints", inside],
    ["endpoints", outside],
  ];
}

/** What the other hosts know of a member. */
export const peerChange = (host: number, member: number, network: "ingress" | "shop"): RowChange => {
  const peer = peerRow(overlayOn(host, network), { member, dataPath: hostAddress(host) });
  return ["peers", member === entryMember(host) && network === "ingress" ? { ...peer, mac: macOf(host) } : peer];
};
export const endpointId = (member: number, network: keyof typeof numbers) =>
  endpointRow(network === "gateway" ? gateway : overlayOn(1, network), { member }).id;
/** Of the row by which a task takes connections. */
export const taskKey = (member: number, network: "ingress" | "shop") =>
  `${shortId("c", member)}|${overlayOn(1, network).network.id}`;

export const serviceId = (number: number) => shortId("b", number);
/** A service; on the ingress network its ports, elsewhere its virtual addresses. */
export function virtualChange(
  number: number,
  network: "ingress" | "shop",
  more: Partial<VirtualService> = {},
): RowChange {
  const addresses = [false, true].map((six) => addressOf(network, virtualMember + number, six));
  return [
    "virtualServices",
    {
      serviceId: serviceId(number),
      networkId: overlayOn(1, network).network.id,
      name: `s${number}`,
      aliases: [],
      addresses,
      ports: [],
      balance: { by: "rr", local: false },
      keepsClient: true,
      ...more,
    },
  ];
}
export const portOf = (
  published: number,
  target: number,
  protocol: ServicePort["protocol"] = "tcp",
  more: Partial<ServicePort> = {},
): ServicePort => ({ name: "", protocol, target, published, mode: "ingress", ...more });

/** The task whose container is this member takes connections of a service. */
export function backendChange(
  number: number,
  member: number,
  host: number,
  network: "ingress" | "shop",
): readonly ["backends", Backend] {
  return [
    "backends",
    {
      taskId: shortId("c", member),
      serviceId: serviceId(number),
      networkId: overlayOn(1, network).network.id,
      nodeId: shortId("d", host),
      name: `s${number}.${member}`,
      addresses: [false, true].map((six) => addressOf(network, member, six)),
    },
  ];
}
