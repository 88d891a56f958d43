/*
 * The way of one packet
 *
 * Container A (172.18.0.2) to the world. A's default route leads through eth0, a veth whose other end `veth<id>` is a
 * port of the bridge `br-<id>`. A asks ARP for the gateway; the bridge interface, which has the gateway's address,
 * answers. The host routes the packet out of its uplink; the chain `leaving_<id>` writes the host's address over A's.
 * The answer finds its way back through the kernel's connection tracking.
 *
 * To container B of the same network: A asks ARP for B, and the bridge itself answers for B's port (`proxyArp`), because
 * B's address and MAC are written as neighbour and forwarding entry. The frame goes from port to port; no rule sees it.
 * With enable_icc=false the ports are isolated and the bridge drops it. Past 1,000 containers there are leaf bridges
 * (drivers/leaf.ts).
 *
 * From the world to a published port: the map `published` turns host-port into B's address and port; the host routes it
 * to the bridge; `to_<id>` lets it through since it was translated. Without translation `to_<id>` drops it.
 */
import type { AddressPool } from "../../model/address-pool.ts";
import type { PortBinding } from "../../model/endpoint.ts";
import type { IpAddress, NetworkId } from "../../model/ids.ts";
import type { Family, NamespaceName, PlanObject } from "../../model/plan.ts";
import type { EndpointView, LeafView, NetworkView } from "../driver.ts";
import { cable } from "../cable.ts";
import { endpointFrames, planFrames } from "../frames.ts";
import { defaultRoutes, familyOf, interfaceObjects, sysctlName } from "../interface.ts";
import { endpointForwarding, endpointPort, planLeafBridge, type Tree } from "../leaf.ts";
import { bridgeMac, bridgeName, leafNames } from "./names.ts";
import type { BridgeOptions } from "./options.ts";
import { networkRules } from "./rules.ts";

const host: NamespaceName = "host";

/** The bridge, its addresses, and the rules that guard it. */
export function planNetwork(view: NetworkView, options: BridgeOptions): PlanObject[] {
  const { network, pools } = view;
  const bridge = bridgeName(network.id, options);
  const hasGateways = (pool: AddressPool) => hasGatewayAddress(pool, options);
  return [
    bridgeLink(network.id, options),
    ...bridgeSysctls(view, options, bridge),
    ...pools.filter(hasGateways).map((pool) => gatewayAddress(pool, bridge)),
    ...pools.flatMap((pool) => networkRules(view, pool, options)),
    ...planFrames({ id: network.id, namespace: host, pools, hasGateways, copiesMulticast: false }),
  ];
}

/** A bridge that the user names may be there already: then it is used as it is, and stays (Docker: `bridge.name`). */
function bridgeLink(id: NetworkId, options: BridgeOptions): PlanObject {
  return {
    kind: "link",
    type: "bridge",
    namespace: host,
    name: bridgeName(id, options),
    mac: bridgeMac(id),
    ...(options.mtu !== undefined && { mtu: options.mtu }),
    ...(options.bridgeName !== undefined && !options.isDefault && { adopt: true }),
  };
}

function bridgeSysctls(view: NetworkView, options: BridgeOptions, bridge: string): PlanObject[] {
  const set = (key: string, value: boolean): PlanObject => ({
    kind: "sysctl",
    namespace: host,
    key: key.replace("BRIDGE", sysctlName(bridge)),
    value: value ? "1" : "0",
  });
  const six = view.pools.some((pool) => familyOf(pool.subnet) === "ip6");
  // Answers to 127.0.0.1 come back over the bridge; foreign packets to 127/8 are dropped in `guard` (dataplane/base.ts).
  const localnet = publishes(view, options, "ip") && view.pools.some((pool) => familyOf(pool.subnet) === "ip");
  return [
    set("net.ipv6.conf.BRIDGE.disable_ipv6", !six),
    set("net.ipv6.conf.BRIDGE.accept_ra", false),
    set("net.ipv4.conf.BRIDGE.route_localnet", localnet),
  ];
}

/** True when `-p` translates addresses of this family. */
function publishes(view: NetworkView, options: BridgeOptions, family: Family): boolean {
  return !view.network.spec.internal && options.gatewayMode[family].startsWith("nat");
}

function hasGatewayAddress(pool: AddressPool, options: BridgeOptions): boolean {
  const family = familyOf(pool.subnet);
  return options.gatewayMode[family] !== "isolated" && !(family === "ip" && options.inhibitIpv4);
}

const gatewayAddress = (pool: AddressPool, link: string): PlanObject => ({
  kind: "address",
  namespace: host,
  link,
  address: `${pool.gateway}/${pool.subnet.split("/")[1]}`,
});

/** The cable into the sandbox, what the container sees at its end, and the ports it publishes. */
export function planEndpoint(view: EndpointView, options: BridgeOptions): PlanObject[] {
  const { network, endpoint } = view;
  const tree = treeOf(network.id, options);
  return [
    ...endpointFrames(host, endpoint),
    cable(view, host, endpointPort(endpoint, tree), options.mtu),
    ...interfaceObjects(view),
    ...defaultRoutes(view),
    ...endpointForwarding(endpoint, tree),
    ...endpoint.addresses.map(
      ({ address }): PlanObject => ({
        kind: "neighbour",
        namespace: host,
        link: tree.root,
        address,
        mac: endpoint.mac,
      }),
    ),
    ...publishedPorts(view, options),
  ];
}

const treeOf = (id: NetworkId, options: BridgeOptions): Tree => ({
  namespace: host,
  root: bridgeName(id, options),
  leafNames: leafNames(id),
  isolated: !options.icc,
  ...(options.mtu !== undefined && { mtu: options.mtu }),
});

/** A leaf bridge carries frames only: the host has no say there, and answers nothing that comes up on it. */
export function planLeaf({ network: { id }, leaf }: LeafView, options: BridgeOptions): PlanObject[] {
  const { bridge, up, down } = leafNames(id)(leaf);
  const set = (key: string, value: string): PlanObject => ({ kind: "sysctl", namespace: host, key, value });
  return [
    ...(["ip", "ip6"] as const).flatMap((family) =>
      ["bridges", "leaves"].map(
        (set): PlanObject => ({ kind: "element", namespace: host, family, set, key: `"${bridge}"` }),
      ),
    ),
    ...planLeafBridge(id, leaf, treeOf(id, options)),
    ...[bridge, up, down].map((link) => set(`net.ipv6.conf.${link}.disable_ipv6`, "1")),
    // 8: for no address of the host (Documentation/networking/ip-sysctl.rst); the gateway's is on the root.
    set(`net.ipv4.conf.${bridge}.arp_ignore`, "8"),
  ];
}

/** Map elements, never rules: the cost of a packet does not grow with the number of ports. */
function publishedPorts(view: EndpointView, options: BridgeOptions): PlanObject[] {
  if (view.network.spec.internal) return [];
  return view.endpoint.ports.flatMap((binding) => {
    const family = familyOf(binding.hostIp);
    const own = view.endpoint.addresses.find((a) => familyOf(a.address) === family);
    if (own === undefined) return [];
    const mode = options.gatewayMode[family];
    if (mode === "routed") return [openPort(binding, own.address, family)];
    return mode === "isolated" ? [] : [translatedPort(binding, own.address, family)];
  });
}

const openPort = (binding: PortBinding, address: IpAddress, family: Family): PlanObject => ({
  kind: "element",
  namespace: host,
  family,
  set: "open",
  key: `${address} . ${binding.protocol} . ${binding.containerPort}`,
});

function translatedPort(binding: PortBinding, address: IpAddress, family: Family): PlanObject {
  const any = binding.hostIp === "0.0.0.0" || binding.hostIp === "::";
  const port = `${binding.protocol} . ${binding.hostPort}`;
  return {
    kind: "element",
    namespace: host,
    family,
    set: any ? "published" : "published_at",
    key: any ? port : `${binding.hostIp} . ${port}`,
    value: `${address} . ${binding.containerPort}`,
  };
}
