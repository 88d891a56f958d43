import { randomBytes } from "node:crypto";
import type { NetworkDriver } from "../drivers/driver.ts";
import { forgetNetwork } from "../ipam/forget-network.ts";
import { openPools } from "../ipam/pools.ts";
import { conflict, EngineError, forbidden, invalid, notFound, system } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import { overlaps, parseCidr } from "../lib/net.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { HostRoute, Network, NetworkSpec } from "../model/network.ts";
import type { Owner } from "../model/plan.ts";
import type { Snapshot } from "../store/store.ts";
import { wayOutNetwork, wayOutTrouble } from "./attachments.ts";
import { encryptionTroubles, lackOfEncryption } from "./encryption.ts";
import type { Filters, NetworkDetail, Networks } from "./engine.ts";
import { checkFilters, nameFits, passesFilters, passesLabels, untilTime } from "./filters.ts";
import {
  clusterRows,
  createClusterNetwork,
  networksElsewhere,
  removeClusterNetwork,
  rowsWith,
} from "./cluster-networks.ts";
import { connect, disconnect } from "./connections.ts";
import { publish } from "./network-events.ts";
import {
  accessTrouble,
  checkHostRoutes,
  checkLeases,
  checkNeighbours,
  checkPlace,
  lanPlace,
  linkOf,
} from "./lan-networks.ts";
import { leaseTrouble } from "./leases.ts";
import type { Parts } from "./parts.ts";
import { removalSettled } from "./sandboxes.ts";

const listFilters = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];

/** The verbs of `docker network`. */
export function createNetworks(parts: Parts): Networks {
  let pruning = false;
  return {
    create: (spec, signal) => createNetwork(parts, spec, {}, signal),
    list(filters) {
      checkFilters(filters, listFilters);
      const rows = parts.store.snapshot();
      const routes = parts.host.routes();
      const found = (of: Snapshot, networks: readonly Network[]) =>
        networks.filter((network) => passes(of, network, filters)).map((network) => detail(parts, of, network, routes));
      const cluster = clusterRows(parts);
      return [
        ...found(rows, rows.list("networks")),
        ...(cluster === undefined ? [] : found(cluster, networksElsewhere(parts))),
      ];
    },
    inspect(reference) {
      const { rows, network } = rowsWith(parts, reference);
      return detail(parts, rows, network, parts.host.routes());
    },
    remove: (reference) => removeNetwork(parts, reference),
    connect: (reference, container, wish) => connect(parts, reference, container, wish),
    disconnect: (reference, container, force) => disconnect(parts, reference, container, force),
    async prune(filters) {
      checkFilters(filters, ["until", "label", "label!"]);
      if (pruning) throw conflict("a prune operation is already running");
      pruning = true;
      try {
        return await prune(parts, filters);
      } finally {
        pruning = false;
      }
    },
  };
}

/** @param routes of the host, read once for all networks */
function detail(parts: Parts, rows: Snapshot, network: Network, routes: readonly HostRoute[]): NetworkDetail {
  const byName = (a: { containerName: string }, b: { containerName: string }) =>
    a.containerName < b.containerName ? -1 : 1;
  const endpoints = rows.where("endpoints", "network", network.id).toSorted(byName);
  const link = linkOf(parts.drivers, network);
  const owners: Owner[] = [
    ...(link === undefined ? [] : [`parent:${link}` as const]),
    `network:${network.id}`,
    ...endpoints.map(({ id }) => `endpoint:${id}` as const),
  ];
  return {
    network,
    pools: rows.where("pools", "network", network.id),
    endpoints,
    peers: rows.where("peers", "network", network.id),
    // Only when it is looked at: a list has no need of it.
    get services() {
      return rows.where("virtualServices", "network", network.id).map((service) => ({
        service,
        backends: rows
          .where("backends", "virtual", `${service.serviceId}|${network.id}`)
          .filter(({ isLost }) => isLost !== true),
      }));
    },
    ...(network.tunnel !== undefined && { nodeId: parts.membership.nodeId, hostname: parts.host.name }),
    ...(link !== undefined && { parent: { link, state: parts.host.linkState(link) } }),
    errors: [
      ...new Set(owners.flatMap((owner) => parts.dataplane.errorOf(owner)?.message ?? [])),
      ...endpoints.flatMap(({ id }) => leaseTrouble(rows, id) ?? []),
      ...encryptionTroubles(parts, rows, network),
      ...(network.isEncrypted ? lackOfEncryption(clusterRows(parts)) : []),
      ...routeTrouble(routes, rows.where("pools", "network", network.id)),
      ...[wayOutTrouble(parts.store.snapshot(), network)].filter((one) => one !== undefined),
      ...(accessTrouble(parts, network, rows.where("pools", "network", network.id)) ?? []),
    ],
  };
}

/** Routes that have come since: the host, or the containers, do not find what is behind them. On a LAN they may overlap. */
function routeTrouble(routes: readonly HostRoute[], pools: readonly AddressPool[]): string[] {
  const ours = pools.filter(({ segment }) => segment === undefined);
  return routes.flatMap(({ to, link }) => {
    const block = parseCidr(to);
    const hit = block && ours.find(({ subnet }) => overlaps(parseCidr(subnet) ?? block, block));
    return hit
      ? [`the host's route ${to} on ${link} overlaps with ${hit.subnet}: make the network anew with another --subnet`]
      : [];
  });
}

const isUsed = (rows: Snapshot, { id }: Network): boolean =>
  (["endpoints", "peers", "virtualServices"] as const).some((table) => rows.where(table, "network", id).length > 0);

function passes(rows: Snapshot, network: Network, filters: Filters): boolean {
  const used = isUsed(rows, network);
  return (
    passesLabels(filters, network.spec.labels) &&
    passesFilters(filters, {
      driver: (v) => network.spec.driver === v || (v === "null" && network.spec.driver === "none"),
      id: (v) => network.id.startsWith(v),
      name: (v) => nameFits(network.spec.name, v),
      scope: (v) => (v === "swarm" ? network.scope === "cluster" : v === network.scope),
      type: (v) => {
        if (v !== "builtin" && v !== "custom") throw invalid(`invalid filter: 'type'='${v}'`);
        return network.predefined === (v === "builtin");
      },
      dangling: (v) => {
        if (!/^(1|0|t|f|T|F|true|false|TRUE|FALSE|True|False)$/.test(v))
          throw invalid(`invalid filter 'dangling=[${v}]'`);
        return /^(1|t|T|true|TRUE|True)$/.test(v) === (!network.predefined && !used);
      },
    })
  );
}

const predefinedNames = ["bridge", "host", "none", "default"];

/**
 * Creates a network, with its pools, and waits until the kernel has it.
 * @throws {EngineError} with Docker's texts; nothing is left behind
 */
export async function createNetwork(
  parts: Parts,
  wish: NetworkSpec,
  options: { readonly predefined?: boolean; readonly id?: string },
  signal?: AbortSignal,
): Promise<{ readonly id: string; readonly warning: string }> {
  const predefined = options.predefined ?? false;
  if (wish.name === "") throw invalid("invalid name: name is empty");
  if (!predefined && predefinedNames.includes(wish.name))
    throw forbidden(`operation is not permitted on predefined ${wish.name} network `);
  const asked = withTemplate(parts.store.snapshot(), wish);
  const driver = parts.drivers.get(asked.driver);
  if (driver === undefined) throw notFound(`plugin "${asked.driver}" not found`);
  if (!predefined && !driver.hasPools) throw forbidden(`only one instance of "${asked.driver}" network is allowed`);
  if (!["default", "null", "dhcp"].includes(asked.ipam.driver))
    throw notFound(`plugin "${asked.ipam.driver}" not found`);
  if (asked.ingress && driver.scope === "local") throw forbidden("Ingress network can only be global scope network");
  if (!asked.ipv4 && !asked.ipv6 && driver.hasPools) throw invalid("IPv4 or IPv6 must be enabled");
  checkOptions(parts, driver, asked);
  if (driver.scope === "cluster" && !asked.configOnly) {
    return createClusterNetwork(parts, asked, driver);
  }
  const place = lanPlace(driver, asked);
  if (asked.ipam.driver === "dhcp") checkLeases(driver, asked, place);
  checkPlace(parts, place);
  // Without a parent there is no way out, whatever the user said.
  const spec = place !== undefined && place.use === undefined ? { ...asked, internal: true } : asked;
  const id = options.id ?? randomBytes(32).toString("hex");
  checkBridgeName(parts, id, spec);
  if (!predefined && clusterRows(parts)?.get("names", `network|${spec.name}`) !== undefined)
    throw conflict(`network with name ${spec.name} already exists`);
  const hostAddresses = parts.addresses.newHostAddresses(spec);
  const createdAt = new Date().toISOString();
  failpoint("network.create.before-store");
  const { revision } = await parts.store.update((tx) => {
    if (tx.get("names", `network|${spec.name}`) !== undefined)
      throw conflict(`network with name ${spec.name} already exists`);
    checkNeighbours(tx, parts.drivers, place);
    const opened =
      spec.configOnly || !driver.hasPools || spec.ipam.driver === "dhcp"
        ? { pools: [], labels: {} }
        : openPools(tx, {
            ...(place !== undefined && { segment: place.use?.link ?? id, reserved: place.reserved }),
            networkId: id,
            spec,
            severalSubnets: driver.severalSubnets,
            defaultPools: parts.settings.addressPools,
            daemonId: parts.settings.id,
            hostRoutes: parts.host.routes(),
            lenientCidr: parts.settings.lenientCidr,
          });
    const labels = { ...spec.labels, ...opened.labels };
    tx.insert("names", { kind: "network", name: spec.name, id });
    checkHostRoutes(tx, parts.drivers, place, opened.pools);
    const pools = opened.pools.map((pool) => pool.id);
    tx.insert("networks", { id, scope: driver.scope, spec: { ...spec, labels }, pools, predefined, createdAt });
  });
  failpoint("network.create.after-store");
  try {
    await Promise.all(ownersAt(id, place?.use?.link).map((owner) => parts.dataplane.settled(owner, revision, signal)));
    await parts.addresses.checkHostAddresses(spec, hostAddresses);
  } catch (error) {
    await deleteNetwork(parts, id, place?.use?.link);
    throw error instanceof EngineError ? error : system((error as Error).message, error);
  }
  failpoint("network.create.after-kernel");
  publish(parts, "create", id, spec);
  return { id, warning: "" };
}

/** A configuration may be meant for any driver: the one that takes it up says so. @throws {EngineError} invalid */
function checkOptions(parts: Parts, driver: NetworkDriver, spec: NetworkSpec): void {
  try {
    driver.readOptions(spec);
  } catch (error) {
    if (!spec.configOnly || ![...parts.drivers.values()].some((other) => takes(other, spec))) throw error;
  }
}

function takes(driver: NetworkDriver, spec: NetworkSpec): boolean {
  try {
    driver.readOptions(spec);
    return driver.hasPools;
  } catch {
    return false;
  }
}

/** Fills in what `--config-from` refers to (moby libnetwork/network.go applyConfigurationTo). */
function withTemplate(rows: Snapshot, spec: NetworkSpec): NetworkSpec {
  if (spec.configOnly && (spec.internal || spec.attachable || spec.ingress || spec.configFrom !== undefined))
    throw forbidden(
      "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
    );
  if (spec.configFrom === undefined) return spec;
  const template = rows.list("networks").find((n) => n.spec.name === spec.configFrom || n.id === spec.configFrom);
  if (template === undefined || !template.spec.configOnly)
    throw notFound(`configuration network "${spec.configFrom}" does not exist`);
  if (spec.ipam.subnets.length > 0 || Object.keys(spec.options).length > 0)
    throw forbidden(
      "user specified configurations are not supported if the network depends on a configuration network",
    );
  const { ipam, options, ipv4, ipv6 } = template.spec;
  return { ...spec, ipam, options, ipv4, ipv6, labels: { ...template.spec.labels, ...spec.labels } };
}

function checkBridgeName(parts: Parts, id: string, spec: NetworkSpec): void {
  const key = "com.docker.network.bridge.name";
  const name = spec.options[key];
  if (name === undefined) return;
  const other = parts.store
    .snapshot()
    .list("networks")
    .find((n) => n.spec.options[key] === name && !n.spec.configOnly);
  if (other !== undefined && !spec.configOnly)
    throw forbidden(
      `cannot create network ${id} (${name}): conflicts with network ${other.id} (${name}): networks have same bridge name`,
    );
}

/** Who has something in the kernel for a network: itself, and the link that it stands on. */
const ownersAt = (id: string, link: string | undefined): Owner[] => [
  `network:${id}`,
  ...(link === undefined ? [] : [`parent:${link}` as const]),
];

async function deleteNetwork(parts: Parts, id: string, link: string | undefined): Promise<void> {
  const { revision } = await parts.store.update((tx) => forgetNetwork(tx, id));
  await removalSettled(parts, ownersAt(id, link), revision);
}

async function removeNetwork(parts: Parts, reference: string): Promise<void> {
  const { network } = rowsWith(parts, reference);
  if (network.scope === "cluster") return removeClusterNetwork(parts, network);
  if (network.predefined) throw forbidden(`${network.spec.name} is a pre-defined network and cannot be removed`);
  failpoint("network.remove.before-store");
  await parts.store.update((tx) => {
    const used = tx
      .where("endpoints", "network", network.id)
      .toSorted((a, b) => (a.containerName < b.containerName ? -1 : 1))
      .map((e) => `name:"${e.containerName}" id:"${e.id.slice(0, 12)}"`);
    if (used.length > 0)
      throw forbidden(
        `error while removing network: network ${network.spec.name} has active endpoints (${used.join(", ")})`,
      );
    if (network.spec.configOnly && tx.list("networks").some((n) => n.spec.configFrom === network.spec.name))
      throw forbidden(`configuration network "${network.spec.name}" is in use`);
    forgetNetwork(tx, network.id);
  });
  failpoint("network.remove.after-store");
  const owners = ownersAt(network.id, linkOf(parts.drivers, network));
  await removalSettled(parts, owners, parts.store.snapshot().revision);
  publish(parts, "destroy", network.id, network.spec);
}

async function prune(parts: Parts, filters: Filters): Promise<string[]> {
  const until = untilTime(filters);
  const rows = parts.store.snapshot();
  const isIdle = (of: Snapshot, n: Network) =>
    !n.predefined &&
    !n.spec.configOnly &&
    !n.spec.ingress &&
    !(n.spec.name === wayOutNetwork && parts.membership.isInSwarm) &&
    passesLabels(filters, n.spec.labels) &&
    Date.parse(n.createdAt) <= until &&
    !isUsed(of, n);
  const cluster = clusterRows(parts);
  const idle = [
    ...rows.list("networks").filter((n) => n.scope === "local" && isIdle(rows, n)),
    ...(cluster?.list("networks").filter((n) => isIdle(cluster, n)) ?? []),
  ];
  const names: string[] = [];
  for (const network of idle) {
    try {
      await removeNetwork(parts, network.id);
      names.push(network.spec.name);
    } catch (error) {
      // It came into use meanwhile, or is gone.
      if (!(error instanceof EngineError) || !["forbidden", "invalid", "not-found"].includes(error.class)) throw error;
    }
  }
  return names;
}
