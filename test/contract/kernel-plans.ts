import { planEndpoint, planNetwork } from "../../src/drivers/bridge/plan.ts";
import { readOptions } from "../../src/drivers/bridge/options.ts";
import type { EndpointView, NetworkView } from "../../src/drivers/driver.ts";
import type { Step } from "../../src/kernel/kernel.ts";
import type { PortBinding } from "../../src/model/endpoint.ts";
import type { NetworkSpec } from "../../src/model/network.ts";
import type { PlanObject } from "../../src/model/plan.ts";

/** Ids as the engine makes them: 64 digits, told apart by their first ones. */
export const idOf = (number: number, first = "a"): string =>
  `${first}${number.toString(16).padStart(10, "0")}`.padEnd(64, "7");
const mac = (number: number) =>
  `02:42:ac:${[number >> 16, (number >> 8) & 0xff, number & 0xff].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;

export interface NetworkWish {
  readonly number: number;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  readonly options?: Readonly<Record<string, string>>;
}

function viewOf({ number, ipv6 = false, internal = false, options = {} }: NetworkWish): NetworkView {
  const id = idOf(number);
  const spec: NetworkSpec = {
    name: `net${number}`,
    driver: "bridge",
    options,
    labels: {},
    ipv4: true,
    ipv6,
    ipam: { driver: "default", options: {}, subnets: [] },
    internal,
    attachable: false,
    ingress: false,
    configOnly: false,
  };
  const subnets = [`10.${number}.0.0/16`, ...(ipv6 ? [`fd00:${number}::/64`] : [])];
  const pools = subnets.map((subnet) => {
    const gateway = subnet.includes(":") ? `fd00:${number}::1` : `10.${number}.0.1`;
    return { id: `${id}/${subnet}`, networkId: id, subnet, range: subnet, gateway, userSubnet: false };
  });
  const network = {
    id,
    scope: "local",
    spec,
    pools: pools.map((pool) => pool.id),
    predefined: false,
    createdAt: "",
  } as const;
  return { network, pools };
}

function endpointView(wish: NetworkWish, member: number, ports: readonly PortBinding[]): EndpointView {
  const view = viewOf(wish);
  const id = idOf(wish.number * 0x10000 + member, "e");
  const sandboxId = idOf(wish.number * 0x10000 + member, "5");
  const host = `${member >> 8}.${member & 0xff}`;
  const four = { address: `10.${wish.number}.${host}`, prefix: 16, gateway: `10.${wish.number}.0.1` };
  const six = { address: `fd00:${wish.number}::${member.toString(16)}`, prefix: 64, gateway: `fd00:${wish.number}::1` };
  const endpoint = {
    id,
    networkId: view.network.id,
    sandboxId,
    containerId: sandboxId,
    containerName: `c${member}`,
    mac: mac(wish.number * 0x10000 + member),
    interfaceName: "eth0",
    addresses: wish.ipv6 === true ? [four, six] : [four],
    linkLocal: ["169.254.7.8", ...(wish.ipv6 === true ? ["fe80::77"] : [])],
    names: [],
    ports,
    sysctls: { "net.ipv4.conf.eth0.log_martians": "1" },
    gatewayPriority: 0,
  };
  const dns = { servers: [], search: [], options: [] };
  const sandbox = {
    id: sandboxId,
    containerId: sandboxId,
    gateway4: id,
    gateway6: id,
    resolver: true,
    dns,
    sysctls: {},
  };
  return { ...view, endpoint, sandbox };
}

/** An object with the owner that wants it. */
export interface Wanted {
  readonly owner: string;
  readonly object: PlanObject;
}

export function networkPlan(wish: NetworkWish): Wanted[] {
  const view = viewOf(wish);
  const owner = `network:${view.network.id}`;
  return planNetwork(view, readOptions(view.network.spec)).map((object) => ({ owner, object }));
}

/** Namespace of the sandbox and everything of its endpoint. @param member 2 to 65,000, the last digits of its addresses */
export function endpointPlan(wish: NetworkWish, member: number, ports: readonly PortBinding[] = []): Wanted[] {
  const view = endpointView(wish, member, ports);
  const namespace = `sandbox:${view.sandbox.id}` as const;
  const objects = planEndpoint(view, readOptions(view.network.spec));
  return [
    { owner: namespace, object: { kind: "namespace", namespace } },
    ...objects.map((object) => ({ owner: `endpoint:${view.endpoint.id}`, object })),
  ];
}

export const creates = (wanted: readonly Wanted[]): Step[] =>
  wanted.map(({ owner, object }) => ({ verb: "create", owner, object }));
/** In the opposite order. */
export const removes = (wanted: readonly Wanted[]): Step[] =>
  wanted.toReversed().map(({ object }) => ({ verb: "remove", object }));

/** One of every way to publish a port. */
export const ports: readonly PortBinding[] = [
  { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 },
  { protocol: "tcp", containerPort: 80, hostIp: "::", hostPort: 8080 },
  { protocol: "udp", containerPort: 53, hostIp: "127.0.0.1", hostPort: 5353 },
  { protocol: "sctp", containerPort: 9, hostIp: "::1", hostPort: 9 },
];
