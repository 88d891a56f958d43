import { isDeepStrictEqual } from "node:util";
import type { Balancer } from "../balancers/balancer.ts";
import { familyOf } from "../drivers/interface.ts";
import type { NetworkDriver, NetworkView, TunnelEndView } from "../drivers/driver.ts";
import { type ParentUse, planParent } from "../drivers/parent.ts";
import type { Endpoint } from "../model/endpoint.ts";
import { planUnderlay, planUnderlayPeer } from "../drivers/underlay.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import { encryptedUnderlay, type Owner, type PlanObject } from "../model/plan.ts";
import type { OwnEnd } from "../model/wireguard.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import { leafOf } from "../store/tables.ts";
import { allServiceOwners, planAnswers, planForServices, planServiceOf, serviceOwners } from "./service-views.ts";
import { type Fitting, limitFactor, planHost, planTunnelEnd } from "./base.ts";

export type DriverFor = (name: string) => NetworkDriver | undefined;

/** Who says what should be. */
export interface Planners {
  /** The driver that a network's row names; rows of unknown drivers want nothing. */
  readonly driverFor: DriverFor;
  readonly balancer: Balancer;
}

/**
 * The owners whose plan may be another after these rows changed.
 * @param before the rows as they were: a network that is gone stood on a parent, too
 */
export const ownersOf = (
  before: Snapshot,
  rows: Snapshot,
  changed: readonly RowKey[],
  driverFor: DriverFor,
): Owner[] => [
  ...networkOwners(before, rows, changed, driverFor),
  ...changed.flatMap((one) => serviceOwners(before, rows, one)),
];

function networkOwners(before: Snapshot, rows: Snapshot, changed: readonly RowKey[], driverFor: DriverFor): Owner[] {
  return changed.flatMap(({ table, key }): Owner[] => {
    switch (table) {
      case "networks":
        return [
          `network:${key}`,
          "host",
          ...([before, rows].some((some) => encryptionOf(some.get(table, key)) !== undefined)
            ? [encryptedUnderlay]
            : []),
          ...parentsOf([before.get(table, key), rows.get(table, key)], driverFor),
          ...(isTunnelOther(before.get(table, key), rows.get(table, key)) ? membersOf(rows, key) : []),
        ];
      case "endpoints":
        return [
          `endpoint:${key}`,
          ...leavesOf([before.get(table, key), rows.get(table, key)]),
          ...sandboxesOf([before, rows], key, driverFor),
          ...(factorOf(before) === factorOf(rows) ? [] : ["host" as const]),
        ];
      case "peers":
        return [before, rows].flatMap((some) => peerOwners(some, key));
      case "ends":
        return [before, rows].flatMap((some) => tunnelsOf(some, key));
      case "ownEnds":
        return ownEndOwners(before.get(table, key), rows.get(table, key), rows);
      case "sandboxes":
        // It says which endpoint has the default route.
        return [`sandbox:${key}`, ...rows.where("endpoints", "sandbox", key).map((e) => `endpoint:${e.id}` as const)];
      default:
        return [];
    }
  });
}

/** Every owner that has rows. */
export function allOwners(rows: Snapshot, driverFor: DriverFor): Owner[] {
  const networks = rows.list("networks");
  return [
    "host",
    ...(networks.some((network) => encryptionOf(network) !== undefined) ? [encryptedUnderlay] : []),
    ...parentsOf(networks, driverFor),
    ...networks.map((n) => `network:${n.id}` as const),
    ...rows.list("sandboxes").map((s) => `sandbox:${s.id}` as const),
    ...rows.list("endpoints").map((e) => `endpoint:${e.id}` as const),
    ...leavesOf(rows.list("endpoints")),
    ...new Set(networks.filter((n) => n.tunnel !== undefined).flatMap((n) => othersOf(rows, n.id))),
    ...allServiceOwners(rows),
  ];
}

const encryptionOf = (network: Network | undefined) => network?.tunnel?.encryption;

/** A network's endpoints and peers are planned by its own row only as far as its tunnel goes. */
const isTunnelOther = (before: Network | undefined, after: Network | undefined): boolean =>
  before?.vni !== after?.vni || !isDeepStrictEqual(before?.tunnel, after?.tunnel);

function membersOf(rows: Snapshot, network: string): Owner[] {
  const endpoints = rows.where("endpoints", "network", network);
  return [...endpoints.map((e) => `endpoint:${e.id}` as const), ...leavesOf(endpoints), ...othersOf(rows, network)];
}

/** Whose sandbox is another with this endpoint than without. */
const sandboxesOf = (states: readonly Snapshot[], id: string, driverFor: DriverFor): Owner[] => [
  ...new Set(
    states.flatMap((rows) => {
      const endpoint = rows.get("endpoints", id);
      const has = endpoint !== undefined && sandboxSysctls(rows, endpoint, driverFor) !== undefined;
      return has ? [`sandbox:${endpoint.sandboxId}` as const] : [];
    }),
  ),
];

const sandboxSysctls = (rows: Snapshot, { networkId }: Endpoint, driverFor: DriverFor) =>
  driverFor(rows.get("networks", networkId)?.spec.driver ?? "")?.sandboxSysctls;

const factorOf = (rows: Snapshot) => limitFactor(rows.list("endpoints").length);

/** The leaf bridges that some endpoints are on. */
const leavesOf = (endpoints: readonly (Endpoint | undefined)[]): Owner[] => [
  ...new Set(endpoints.flatMap((e) => (e?.leaf === undefined ? [] : (`leaf:${leafOf(e)}` as const)))),
];

/** Peers of a network, and the hosts where they are. */
function othersOf(rows: Snapshot, network: string): Owner[] {
  const peers = rows.where("peers", "network", network);
  const ends = new Set(peers.map((p) => p.dataPath));
  return [...peers.map((p) => `peer:${p.id}` as const), ...[...ends].map((end) => `tunnel:${end}` as const)];
}

/** Nobody, for a peer on a network in which this host takes no part: a manager has the rows of all. */
function peerOwners(rows: Snapshot, id: string): Owner[] {
  const peer = rows.get("peers", id);
  return peer === undefined || rows.get("networks", peer.networkId)?.tunnel === undefined
    ? []
    : [`peer:${id}`, `tunnel:${peer.dataPath}`];
}

/** Another host, where peers say that it is. */
const tunnelsOf = (rows: Snapshot, node: string): Owner[] => [
  ...new Set(rows.where("peers", "node", node).map(({ dataPath }) => `tunnel:${dataPath}` as const)),
];

/** With a key that comes or goes all other hosts', with an answer the one that has answered. */
function ownEndOwners(before: OwnEnd | undefined, after: OwnEnd | undefined, rows: Snapshot): Owner[] {
  const isSame = isDeepStrictEqual(before?.keys, after?.keys);
  const ends = rows.list("ends").filter(({ id }) => !isSame || before?.answered[id] !== after?.answered[id]);
  return [...(isSame ? [] : [encryptedUnderlay]), ...ends.flatMap(({ id }) => tunnelsOf(rows, id))];
}

/** How a network stands on a link of the host; undefined for most, and for options that are refused by now. */
export function parentUse(network: Network, driverFor: DriverFor): ParentUse | undefined {
  const driver = network.spec.configOnly ? undefined : driverFor(network.spec.driver);
  if (driver?.lan === undefined) return undefined;
  try {
    return driver.lan.parentOf(optionsOf(driver, network));
  } catch {
    return undefined;
  }
}

function parentsOf(networks: readonly (Network | undefined)[], driverFor: DriverFor): Owner[] {
  const links = networks.flatMap((network) => (network && parentUse(network, driverFor)?.link) ?? []);
  return [...new Set(links)].map((link) => `parent:${link}` as const);
}

/**
 * What one owner wants, from rows alone; nothing when its row is gone.
 * @param fitting sysctls that this kernel has and that have to be set
 * @throws {EngineError} what the driver says to the network's options
 */
export function planOf(
  rows: Snapshot,
  owner: Owner,
  { driverFor, balancer }: Planners,
  fitting: Fitting,
): readonly PlanObject[] {
  if (owner === encryptedUnderlay) return planEncryption(rows);
  const at = owner.indexOf(":");
  const id = owner.slice(at + 1);
  switch (at < 0 ? owner : owner.slice(0, at)) {
    case "host":
      return planHost(hostWish(rows, fitting.host));
    case "parent":
      return planParent(
        id,
        rows
          .list("networks")
          .flatMap((network) => parentUse(network, driverFor) ?? [])
          .filter(({ link }) => link === id),
      );
    case "network":
      return planNetwork(rows, id, driverFor, fitting.networks);
    case "endpoint":
      return planEndpoint(rows, id, driverFor);
    case "leaf":
      return planLeaf(rows, id, driverFor);
    case "peer":
      return planPeer(rows, id, driverFor);
    case "tunnel":
      return planEnd(rows, id, driverFor);
    case "service":
      return planServiceOf(rows, id, balancer);
    default:
      return planSandbox(rows, id, { driverFor, balancer });
  }
}

function hostWish(rows: Snapshot, fitting: Fitting["host"]): Parameters<typeof planHost>[0] {
  const networks = rows.list("networks");
  return {
    ipv6: networks.some((n) => n.spec.ipv6),
    tunnelPorts: [...new Set(networks.flatMap((n) => n.tunnel?.udpPort ?? []))],
    fitting,
    factor: factorOf(rows),
  };
}

function planEncryption(rows: Snapshot): readonly PlanObject[] {
  const encryption = rows
    .list("networks")
    .map(encryptionOf)
    .find((one) => one !== undefined);
  const [own] = rows.list("ownEnds");
  return encryption === undefined ? [] : planUnderlay(encryption, own);
}

/** A network with the driver that plans it. */
interface Driven {
  readonly view: NetworkView;
  readonly driver: NetworkDriver;
  readonly options: unknown;
}

function drivenNetwork(rows: Snapshot, id: string, driverFor: DriverFor): Driven | undefined {
  const network = rows.get("networks", id);
  const driver = network && driverFor(network.spec.driver);
  if (network === undefined || network.spec.configOnly || driver === undefined) return undefined;
  const pools = network.pools.flatMap((pool) => rows.get("pools", pool) ?? []);
  return { view: { network, pools }, driver, options: optionsOf(driver, network) };
}

const options = new WeakMap<Network, unknown>();
/** Read once a row: what the user asked for never changes. */
function optionsOf(driver: NetworkDriver, network: Network): unknown {
  if (!options.has(network)) options.set(network, driver.readOptions(network.spec));
  return options.get(network);
}

function planNetwork(
  rows: Snapshot,
  id: string,
  driverFor: DriverFor,
  fitting: Fitting["networks"],
): readonly PlanObject[] {
  const driven = drivenNetwork(rows, id, driverFor);
  const objects = driven?.driver.planNetwork(driven.view, driven.options) ?? [];
  const made = objects.flatMap((o) => (o.kind === "namespace" ? o.namespace : []));
  const sysctls = made.flatMap((namespace) =>
    Object.entries(fitting).map(([key, value]): PlanObject => ({ kind: "sysctl", namespace, key, value })),
  );
  return [...objects, ...sysctls];
}

function planEndpoint(rows: Snapshot, id: string, driverFor: DriverFor): readonly PlanObject[] {
  const endpoint = rows.get("endpoints", id);
  const sandbox = endpoint && rows.get("sandboxes", endpoint.sandboxId);
  const driven = endpoint && drivenNetwork(rows, endpoint.networkId, driverFor);
  if (endpoint === undefined || sandbox === undefined || driven === undefined) return [];
  const view = { ...driven.view, endpoint, sandbox };
  return [...driven.driver.planEndpoint(view, driven.options), ...planAnswers(rows, view)];
}

/** A leaf bridge is there while somebody is on it. @param key `<network>|<number>` */
function planLeaf(rows: Snapshot, key: string, driverFor: DriverFor): readonly PlanObject[] {
  const [network = "", leaf] = key.split("|");
  const driven = drivenNetwork(rows, network, driverFor);
  if (driven === undefined || rows.where("endpoints", "leaf", key).length === 0) return [];
  return driven.driver.planLeaf?.({ ...driven.view, leaf: Number(leaf) }, driven.options) ?? [];
}

function planPeer(rows: Snapshot, id: string, driverFor: DriverFor): readonly PlanObject[] {
  const peer = rows.get("peers", id);
  const driven = peer && drivenNetwork(rows, peer.networkId, driverFor);
  return (driven && driven.driver.planPeer?.({ ...driven.view, peer }, driven.options)) ?? [];
}

/**
 * A host is let in to each network in which both it and this host take part. What the networks have of it belongs to it, and not to
 * a container that would take it along.
 */
function planEnd(rows: Snapshot, address: string, driverFor: DriverFor): readonly PlanObject[] {
  const peers = rows.where("peers", "dataPath", address);
  const networks = new Set(peers.map((peer) => peer.networkId));
  const driven = [...networks]
    .flatMap((id) => drivenNetwork(rows, id, driverFor) ?? [])
    .filter(({ view: { network } }) => network.tunnel !== undefined && network.tunnel.local !== address);
  if (driven.length === 0) return [];
  const wireguardAddress = peers.find((peer) => peer.wireguardAddress !== undefined)?.wireguardAddress;
  const end = { address, ...(wireguardAddress !== undefined && { wireguardAddress }) };
  const isEncrypted = driven.some(({ view }) => encryptionOf(view.network) !== undefined);
  return [
    ...driven.flatMap((one) => letIn(one, end)),
    ...(isEncrypted ? planWireguardPeer(rows, peers, address) : []),
    ...driven.flatMap(({ view, driver, options: own }) => driver.planTunnelEnd?.({ ...view, ...end }, own) ?? []),
  ];
}

/** Its packets for one network: of an encrypted one none but those that went through WireGuard. */
function letIn(
  { view, driver, options: own }: Driven,
  { address, wireguardAddress }: Omit<TunnelEndView, keyof NetworkView>,
) {
  const { vni, tunnel } = view.network;
  if (vni === undefined || tunnel === undefined) return [];
  if (driver.overHosts?.isEncrypted(own) === false)
    // A host that speaks the other family is not reached, and does not reach this one.
    return familyOf(address) === familyOf(tunnel.local)
      ? [planTunnelEnd({ there: address, here: tunnel.local, vni })]
      : [];
  const here = tunnel.encryption?.address;
  if (wireguardAddress === undefined || here === undefined) return [];
  return [planTunnelEnd({ there: wireguardAddress, here, vni, underlay: encryptedUnderlay })];
}

/** A host that came as another node may be two for a moment: the one that has said its keys counts. */
function planWireguardPeer(rows: Snapshot, peers: readonly Peer[], address: string): readonly PlanObject[] {
  const [own] = rows.list("ownEnds");
  const nodes = new Set(peers.map(({ nodeId }) => nodeId));
  const end = [...nodes].map((node) => rows.get("ends", node)).find((one) => one !== undefined);
  return own === undefined || end === undefined ? [] : planUnderlayPeer(own, end, address);
}

/** What the user says of a sysctl counts. */
function planSandbox(rows: Snapshot, id: string, { driverFor, balancer }: Planners): readonly PlanObject[] {
  const sandbox = rows.get("sandboxes", id);
  if (sandbox === undefined) return [];
  const namespace = `sandbox:${id}` as const;
  const endpoints = rows.where("endpoints", "sandbox", id);
  const values = Object.assign({}, ...endpoints.map((one) => sandboxSysctls(rows, one, driverFor)), sandbox.sysctls);
  const own = Object.entries<string>(values).map(
    ([key, value]) => ({ kind: "sysctl", namespace, key, value }) as const,
  );
  const others = planForServices(rows, id, balancer).filter(
    (object) => object.kind !== "sysctl" || !Object.hasOwn(values, object.key),
  );
  return [{ kind: "namespace", namespace }, ...own, ...others];
}
