import { createHash } from "node:crypto";
import { claimFirst, releaseAddresses } from "../ipam/claim.ts";
import { type EngineError, forbidden, invalid } from "../lib/errors.ts";
import { localMac } from "../lib/mac.ts";
import { cidrText, overlaps, parseCidr } from "../lib/net.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { Endpoint, EndpointAddress } from "../model/endpoint.ts";
import type { EndpointId, IpAddress } from "../model/ids.ts";
import type { HostRoute, Network } from "../model/network.ts";
import type { Sandbox } from "../model/sandbox.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import type { Prepared } from "./lan-addresses.ts";
import { addressOf, putLease } from "./leases.ts";
import { leafFor } from "./leaves.ts";
import { networkNamed } from "./lookup.ts";
import { placePorts, type PortChoice } from "./ports.ts";

/** Of Docker's name: the bridge by which containers of overlay networks reach the outside. */
export const wayOutNetwork = "docker_gwbridge";

/** A network whose containers find each other by name. */
const hasResolver = (network: Network) => !network.predefined;

/**
 * Checks what one attachment asks of its network.
 * @throws {EngineError} invalid, with Docker's texts (moby daemon/container_operations.go); forbidden for a configuration
 */
export function checkAttachment(rows: Snapshot, network: Network, wish: Omit<Attachment, "network">): void {
  if (network.spec.configOnly) throw forbidden("cannot create endpoint on configuration-only network");
  const wished = [wish.ipv4, wish.ipv6].filter((a) => a !== undefined);
  if (network.predefined && (wished.length > 0 || wish.linkLocal.length > 0))
    throw invalid("invalid endpoint settings:\nuser specified IP address is supported on user defined networks only");
  if (network.predefined && wish.aliases.length > 0)
    throw invalid("network-scoped alias is supported only for containers in user defined networks");
  for (const address of wished) {
    const pools = rows
      .where("pools", "network", network.id)
      .filter((p) => p.subnet.includes(":") === address.includes(":"));
    // What a swarm chose, it says as if somebody had: there addresses may always be asked for, as in Docker.
    if (network.scope === "local" && !pools.some((p) => p.userSubnet))
      throw invalid(
        "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
      );
  }
}

const longestLabel = 63; // bytes (RFC 1035 section 2.3.4, like the following)
const longestName = 253; // bytes, as it is written

/**
 * Refuses aliases that no resolver asks for. Letters are of any script; underscores are usual in containers' names.
 * @param own the container's name, which clients send along (Compose): it may be longer @throws {EngineError} invalid
 */
export function checkAliases(aliases: readonly string[], own?: string): void {
  const isLabel = (text: string) => /^[\w\p{L}\p{M}\p{N}-]+$/u.test(text) && Buffer.byteLength(text) <= longestLabel;
  const isName = (text: string) => text.split(".").every(isLabel) && Buffer.byteLength(text) <= longestName;
  const wrong = aliases.find((alias) => alias !== own && !isName(alias));
  if (wrong !== undefined)
    throw invalid(
      `alias "${wrong}" cannot be asked for: a name in DNS is of letters, digits, "-" and "_", of at most ${longestLabel} bytes between dots and ${longestName} in all`,
    );
}

/** The sandbox row of a container, before its endpoints. */
export function newSandbox(container: Container, dns: Sandbox["dns"]): Sandbox {
  const sysctls = Object.entries(container.spec.sysctls).filter(([key]) => key.startsWith("net."));
  return { id: container.id, containerId: container.id, resolver: false, dns, sysctls: Object.fromEntries(sysctls) };
}

/**
 * Claims addresses for a running container on a network and adds its endpoint.
 * @param prepared what was found out before
 * @throws {EngineError} forbidden when connected already or the address is taken; system when the pool is empty
 */
export function addEndpoint(
  tx: Transaction,
  container: Container,
  attachment: Attachment,
  id: EndpointId,
  prepared: Prepared,
): Endpoint {
  const network = networkNamed(tx, attachment.network);
  checkAttachment(tx, network, attachment);
  const others = tx.where("endpoints", "sandbox", container.id);
  if (others.some((e) => e.networkId === network.id))
    throw forbidden(`endpoint with name ${container.name} already exists in network ${network.spec.name}`);
  const trouble = wayOutTrouble(tx, network);
  if (trouble !== undefined) throw forbidden(trouble);
  const { lease, mac, most, claim } = prepared;
  const there = tx.where("endpoints", "network", network.id);
  if (most !== undefined && there.length >= most)
    throw forbidden(
      `network ${network.spec.name} has room for ${most} container in mode passthru: ${there[0]?.containerName} is on it`,
    );
  const wish = { ...attachment, ...prepared };
  const given = claim?.addresses ?? (lease && [addressOf(lease)]);
  const addresses = given ?? poolsOf(tx, network).map((choice) => claimed(tx, network, choice, wish, id));
  if (lease !== undefined) putLease(tx, { ...lease, endpointId: id });
  const interfaceName = nameInterface(network, attachment, others);
  const leaf = leafFor(tx, network);
  const endpoint: Endpoint = {
    id,
    networkId: network.id,
    sandboxId: container.id,
    containerId: container.id,
    containerName: container.name,
    mac,
    interfaceName,
    addresses,
    linkLocal: attachment.linkLocal,
    names: namesOf(container, attachment),
    ports: [],
    sysctls: readEndpointSysctls(attachment.driverOptions, interfaceName),
    gatewayPriority: attachment.gatewayPriority,
    ...(leaf !== undefined && { leaf }),
  };
  tx.insert("endpoints", endpoint);
  return endpoint;
}

/** Removes an endpoint with its claims on addresses and ports. */
export function removeEndpoint(tx: Transaction, id: EndpointId): void {
  releaseAddresses(tx, id);
  for (const port of tx.where("ports", "endpoint", id))
    tx.delete("ports", `${port.protocol}|${port.hostIp}|${port.hostPort}`);
  tx.delete("endpoints", id);
}

interface Rank {
  readonly priority: number;
  readonly name: string;
}
const rankOf = ({ gatewayPriority }: Pick<Attachment, "gatewayPriority">, network: Network | undefined): Rank => ({
  priority: gatewayPriority,
  name: network?.spec.name ?? "",
});
const byRank = (a: Rank, b: Rank) => b.priority - a.priority || (a.name < b.name ? -1 : 1);

/** The network that becomes the gateway of a container with these attachments, as `assignGateways` decides. */
export function gatewayNetwork(rows: Snapshot, attachments: readonly Attachment[], family: 4 | 6): Network | undefined {
  const ranked = attachments
    .map((one) => ({ one, network: networkNamed(rows, one.network) }))
    .filter(({ network }) => !network.spec.internal)
    .toSorted((a, b) => byRank(rankOf(a.one, a.network), rankOf(b.one, b.network)))
    .map(({ network }) => network);
  const leads = (network: Network, of: 4 | 6) =>
    network.scope === "local" &&
    ((of === 4 && network.spec.ipam.driver === "dhcp") ||
      poolsOf(rows, network).some(
        ({ family: one, pools }) => one === of && pools.some((pool) => gatewayOf(network, pool) !== undefined),
      ));
  if (ranked.some((one) => leads(one, 4) || leads(one, 6))) return ranked.find((one) => leads(one, family));
  const wayOut = ranked.some(({ scope }) => scope === "cluster") ? wayOutOf(rows) : undefined;
  return wayOut !== undefined && leads(wayOut, family) ? wayOut : undefined;
}

/** `docker_gwbridge`, where it is there. */
export const wayOutOf = (rows: Snapshot) =>
  rows.get("networks", rows.get("names", `network|${wayOutNetwork}`)?.id ?? "");

/**
 * Decides which endpoints own the default routes, and publishes the container's ports there. The highest priority wins,
 * then the first network name (Docker's documentation, `--gw-priority`).
 * @param choices for these gateways @param unplaced is told of a port that another container has @throws {EngineError} what `unplaced` does
 */
export function assignGateways(
  tx: Transaction,
  container: Container,
  choices: readonly PortChoice[],
  unplaced: (error: EngineError) => void = refuse,
): void {
  const sandbox = tx.get("sandboxes", container.id);
  if (sandbox === undefined) return;
  settleWayOut(tx, container);
  const ranked = tx
    .where("endpoints", "sandbox", container.id)
    .map((endpoint) => ({ endpoint, network: tx.get("networks", endpoint.networkId) }))
    .toSorted((a, b) => byRank(rankOf(a.endpoint, a.network), rankOf(b.endpoint, b.network)));
  const gateway = (family: 4 | 6) =>
    ranked.find(
      ({ endpoint, network }) =>
        network?.spec.internal === false &&
        endpoint.addresses.some((a) => familyOf(a.address) === family && a.gateway !== undefined),
    )?.endpoint;
  const gateway4 = gateway(4);
  const gateway6 = gateway(6);
  const { gateway4: _4, gateway6: _6, ...rest } = sandbox;
  tx.put("sandboxes", {
    ...rest,
    ...(gateway4 && { gateway4: gateway4.id }),
    ...(gateway6 && { gateway6: gateway6.id }),
    resolver: ranked.some(({ network }) => network !== undefined && hasResolver(network)),
  });
  placePorts(tx, container.id, choices, { 4: gateway4?.id, 6: gateway6?.id }, unplaced);
}
function refuse(error: EngineError): never {
  throw error;
}

/**
 * A container on networks of the cluster, none of which leads out, gets an endpoint on `docker_gwbridge` when no other network
 * does; and loses it when another does (moby libnetwork/default_gateway.go, needDefaultGW).
 */
function settleWayOut(tx: Transaction, container: Container): void {
  const endpoints = tx.where("endpoints", "sandbox", container.id);
  const present = endpoints.find(({ isWayOut }) => isWayOut);
  const own = endpoints.filter((endpoint) => endpoint !== present);
  const networks = own.flatMap(({ networkId }) => tx.get("networks", networkId) ?? []).filter((n) => !n.spec.internal);
  const isOpen = own.some(({ addresses }) => addresses.some(({ gateway }) => gateway !== undefined));
  const isNeeded = !isOpen && networks.some(({ scope }) => scope === "cluster");
  if (!isNeeded && present !== undefined) removeEndpoint(tx, present.id);
  const network = wayOutOf(tx);
  if (isNeeded && present === undefined && network !== undefined)
    insertWayOut(tx, network, {
      sandboxId: container.id,
      containerId: container.id,
      containerName: `gateway_${container.id.slice(0, 12)}`,
      interfaceName: nameInterface(network, wayOutWish(network), own),
    });
}

/** Each route of the host's `docker_gwbridge`: no network of the cluster may overlap with it, whose containers are on both. */
export function wayOutRoutes(rows: Snapshot): HostRoute[] {
  const pools = rows.where("pools", "network", wayOutOf(rows)?.id ?? "");
  return pools.map(({ subnet }) => ({ to: subnet, link: wayOutNetwork }));
}

/** How a network of the cluster overlaps with `docker_gwbridge`, which no manager knew of when it was made. */
export function wayOutTrouble(rows: Snapshot, { id, scope, spec: { name, internal } }: Network): string | undefined {
  if (scope !== "cluster" || internal) return undefined;
  const blocks = wayOutRoutes(rows).flatMap(({ to }) => parseCidr(to) ?? []);
  for (const { subnet } of rows.where("pools", "network", id)) {
    const own = parseCidr(subnet);
    const other = own && blocks.find((block) => overlaps(block, own));
    if (other !== undefined)
      return `network ${name} (${subnet}) overlaps with ${wayOutNetwork} of this host (${cidrText(other)}): make ${wayOutNetwork} anew with another --subnet`;
  }
  return undefined;
}

const wayOutWish = ({ id }: Network): Attachment => ({
  network: id,
  driverOptions: {},
  aliases: [],
  links: [],
  linkLocal: [],
  gatewayPriority: 0,
});

/** The end of `docker_gwbridge` of a sandbox that has no other way out. */
export function insertWayOut(
  tx: Transaction,
  network: Network,
  place: Pick<Endpoint, "sandboxId" | "containerId" | "containerName" | "interfaceName">,
): Endpoint {
  const leaf = leafFor(tx, network);
  const { containerId } = place;
  const id = createHash("sha256").update(`way out ${containerId}`).digest("hex");
  const endpoint: Endpoint = {
    id,
    networkId: network.id,
    ...place,
    mac: localMac(`${network.id} ${containerId}`),
    addresses: poolsOf(tx, network).map((choice) => claimed(tx, network, choice, wayOutWish(network), id)),
    linkLocal: [],
    names: [],
    ports: [],
    sysctls: {},
    gatewayPriority: Number.MIN_SAFE_INTEGER,
    isWayOut: true,
    ...(leaf !== undefined && { leaf }),
  };
  tx.insert("endpoints", endpoint);
  return endpoint;
}

const familyOf = (address: IpAddress) => (address.includes(":") ? 6 : 4);

interface PoolChoice {
  readonly family: 4 | 6;
  readonly pools: readonly AddressPool[];
}
function poolsOf(tx: Snapshot, network: Network): PoolChoice[] {
  const pools = tx.where("pools", "network", network.id);
  const of = (family: 4 | 6) => ({ family, pools: pools.filter((p) => familyOf(p.subnet) === family) });
  return [of(4), of(6)].filter((choice) => choice.pools.length > 0);
}

function claimed(
  tx: Transaction,
  network: Network,
  choice: PoolChoice,
  wish: Attachment,
  id: EndpointId,
): EndpointAddress {
  const wished = choice.family === 4 ? wish.ipv4 : wish.ipv6;
  const { pool, address, prefix } = claimFirst(tx, choice.pools, wished, id);
  const gateway = gatewayOf(network, pool);
  return { address, prefix, ...(gateway && { gateway }) };
}

/** `--aux-address DefaultGatewayIPv4=…` overrides the containers' gateway (moby libnetwork, bridge driver). */
function gatewayOf(network: Network, pool: AddressPool): IpAddress | undefined {
  if (network.spec.internal) return undefined;
  const key = pool.subnet.includes(":") ? "DefaultGatewayIPv6" : "DefaultGatewayIPv4";
  const named = network.spec.ipam.subnets.map((s) => s.auxiliary[key]).find((a) => a !== undefined);
  return named ?? pool.gateway;
}

/** What DNS answers for on a network. A task's aliases are its service's, and all of its tasks may have one hostname. */
export function namesOf(container: Container, attachment: Attachment): string[] {
  const isTask = container.taskId !== undefined;
  const [aliases, hostname] = isTask ? [[], ""] : [attachment.aliases, container.spec.hostname];
  const names = [container.name, ...aliases, container.id.slice(0, 12), hostname];
  return [...new Set(names.filter((n) => n !== ""))];
}

const interfaceKey = "com.docker.network.endpoint.ifname";
const sysctlsKey = "com.docker.network.endpoint.sysctls";

/** What an attachment asks for its interface, before there is one. @throws {EngineError} invalid, as when there is */
export function checkEndpointOptions(options: Attachment["driverOptions"]): void {
  const { [interfaceKey]: name = "eth0" } = options;
  checkInterfaceName(name);
  readEndpointSysctls(options, name);
}

function checkInterfaceName(name: string): void {
  if (!/^[^\s/:]{1,15}$/.test(name) || name === "." || name === ".." || name === "lo")
    throw invalid(`invalid interface name: ${name}`);
}

function nameInterface(network: Network, wish: Attachment, others: readonly Endpoint[]): string {
  const taken = new Set(others.map((e) => e.interfaceName));
  const wished = wish.driverOptions[interfaceKey];
  if (wished !== undefined) {
    checkInterfaceName(wished);
    if (taken.has(wished)) throw invalid(`interface name ${wished} is already in use in the container`);
    return wished;
  }
  const prefix = network.spec.options["com.docker.network.container_iface_prefix"] ?? "eth";
  for (let index = 0; ; index += 1) if (!taken.has(`${prefix}${index}`)) return `${prefix}${index}`;
}

/**
 * `net.ipv4.conf.IFNAME.log_martians=1,…`, with IFNAME replaced by the interface's name. The client writes what is typed
 * in the long form of `--network` in lower case (docker/cli opts/network.go).
 * @throws {EngineError} invalid, with Docker's text
 */
function readEndpointSysctls(options: Attachment["driverOptions"], interfaceName: string): Record<string, string> {
  for (const key of Object.keys(options))
    if (key !== interfaceKey && key !== sysctlsKey)
      throw invalid(`unknown endpoint option "${key}": known are ${interfaceKey} and ${sysctlsKey}`);
  const sysctls: Record<string, string> = {};
  for (const text of (options[sysctlsKey] ?? "").split(",").filter((t) => t !== "")) {
    const match = /^(net\.(?:ipv4|ipv6|mpls)\.[a-z0-9_-]+)\.(?:IFNAME|ifname)\.([a-z0-9_.-]+)=(.*)$/.exec(text);
    if (match === null)
      throw invalid(
        `unrecognised network interface sysctl '${text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
      );
    sysctls[`${match[1]}.${interfaceName.replaceAll(".", "/")}.${match[2]}`] = match[3] ?? "";
  }
  return sysctls;
}
