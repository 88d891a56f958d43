import type { NetworkDriver, NetworkView } from "../drivers/driver.ts";
import { type ParentUse, planParent } from "../drivers/parent.ts";
import type { Network } from "../model/network.ts";
import type { Owner, PlanObject } from "../model/plan.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import { planHost } from "./base.ts";

export type DriverFor = (name: string) => NetworkDriver | undefined;

/**
 * The owners whose plan may be another after these rows changed.
 * @param before the rows as they were: a network that is gone stood on a parent, too
 */
export function ownersOf(before: Snapshot, rows: Snapshot, changed: readonly RowKey[], driverFor: DriverFor): Owner[] {
  return changed.flatMap(({ table, key }): Owner[] => {
    switch (table) {
      case "networks":
        return [`network:${key}`, "host", ...parentsOf([before.get(table, key), rows.get(table, key)], driverFor)];
      case "endpoints":
        return [`endpoint:${key}`];
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
  return [
    "host",
    ...parentsOf(rows.list("networks"), driverFor),
    ...rows.list("networks").map((n) => `network:${n.id}` as const),
    ...rows.list("sandboxes").map((s) => `sandbox:${s.id}` as const),
    ...rows.list("endpoints").map((e) => `endpoint:${e.id}` as const),
  ];
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
 * @param fitting sysctls of the host that this kernel has and that have to be set
 * @throws {EngineError} what the driver says to the network's options
 */
export function planOf(
  rows: Snapshot,
  owner: Owner,
  driverFor: DriverFor,
  fitting: Readonly<Record<string, string>>,
): readonly PlanObject[] {
  if (owner === "host") return planHost({ ipv6: rows.list("networks").some((n) => n.spec.ipv6), fitting });
  const at = owner.indexOf(":");
  const id = owner.slice(at + 1);
  switch (owner.slice(0, at)) {
    case "parent":
      return planParent(
        id,
        rows
          .list("networks")
          .flatMap((network) => parentUse(network, driverFor) ?? [])
          .filter(({ link }) => link === id),
      );
    case "network":
      return planNetwork(rows, id, driverFor);
    case "endpoint":
      return planEndpoint(rows, id, driverFor);
    default:
      return planSandbox(rows, id);
  }
}

function viewOf(rows: Snapshot, id: string): NetworkView | undefined {
  const network = rows.get("networks", id);
  if (network === undefined || network.spec.configOnly) return undefined;
  const pools = network.pools.flatMap((pool) => rows.get("pools", pool) ?? []);
  return { network, pools };
}

const options = new WeakMap<Network, unknown>();
/** Read once a network: its row never changes. */
function optionsOf(driver: NetworkDriver, network: Network): unknown {
  if (!options.has(network)) options.set(network, driver.readOptions(network.spec));
  return options.get(network);
}

function planNetwork(rows: Snapshot, id: string, driverFor: DriverFor): readonly PlanObject[] {
  const view = viewOf(rows, id);
  const driver = view && driverFor(view.network.spec.driver);
  return view === undefined || driver === undefined ? [] : driver.planNetwork(view, optionsOf(driver, view.network));
}

function planEndpoint(rows: Snapshot, id: string, driverFor: DriverFor): readonly PlanObject[] {
  const endpoint = rows.get("endpoints", id);
  const sandbox = endpoint && rows.get("sandboxes", endpoint.sandboxId);
  const view = endpoint && viewOf(rows, endpoint.networkId);
  const driver = view && driverFor(view.network.spec.driver);
  if (endpoint === undefined || sandbox === undefined || view === undefined || driver === undefined) return [];
  return driver.planEndpoint({ ...view, endpoint, sandbox }, optionsOf(driver, view.network));
}

function planSandbox(rows: Snapshot, id: string): readonly PlanObject[] {
  const sandbox = rows.get("sandboxes", id);
  if (sandbox === undefined) return [];
  const namespace = `sandbox:${id}` as const;
  return [
    { kind: "namespace", namespace },
    ...Object.entries(sandbox.sysctls).map(([key, value]) => ({ kind: "sysctl" as const, namespace, key, value })),
  ];
}
