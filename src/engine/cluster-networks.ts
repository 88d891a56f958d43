import { closeNetwork, openNetwork } from "../cluster/networks.ts";
import { texts } from "../cluster/texts.ts";
import type { NetworkDriver } from "../drivers/driver.ts";
import { EngineError, forbidden, invalid } from "../lib/errors.ts";
import type { Network, NetworkSpec } from "../model/network.ts";
import { rowNamed, rowsNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import { checkEncryption } from "./encryption.ts";
import { networkNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";

/** The cluster's rows, where they can be read: on a manager at work. */
export function clusterRows({ membership }: Pick<Parts, "membership">): Snapshot | undefined {
  try {
    return membership.control().store.snapshot();
  } catch {
    return undefined;
  }
}

/** Networks of the cluster that this host takes no part in; managers alone know of them. */
export function networksElsewhere(parts: Parts): readonly Network[] {
  const here = parts.store.snapshot();
  const all = clusterRows(parts)?.list("networks") ?? [];
  return all.filter(({ id }) => here.get("networks", id) === undefined);
}

/**
 * The rows that know a network: this host's own, or a manager's. A whole name anywhere goes before the beginning of an id.
 * @throws {EngineError} not-found; invalid when ambiguous
 */
export function rowsWith(parts: Parts, reference: string): { readonly rows: Snapshot; readonly network: Network } {
  const here = parts.store.snapshot();
  const there = clusterRows(parts);
  const all = there === undefined ? [here] : [here, there];
  const rows =
    all.find((some) => rowNamed(some, "networks", reference) !== undefined) ??
    all.find((some) => rowsNamed(some, "networks", reference).length > 0) ??
    here;
  return { rows, network: networkNamed(rows, reference) };
}

/**
 * @returns the new network's id, and what the user should know
 * @throws {EngineError} forbidden where no networks of the cluster can be made, with Docker's texts; not-implemented for an
 *   encrypted one where no node can encrypt; as `openNetwork`
 */
export async function createClusterNetwork(
  parts: Parts,
  spec: NetworkSpec,
  driver: NetworkDriver,
): Promise<{ readonly id: string; readonly warning: string }> {
  checkManager(parts);
  checkClusterSpec(parts, spec);
  const here = parts.store.snapshot();
  const options = driver.readOptions(spec);
  const vni = driver.overHosts?.vni(options);
  const isEncrypted = driver.overHosts?.isEncrypted(options) === true;
  const warning = isEncrypted ? checkEncryption(parts.membership.current()) : "";
  const others = here.list("pools").flatMap(({ networkId, subnet }) => {
    const network = here.get("networks", networkId);
    return network?.scope === "local"
      ? [{ to: subnet, name: `network ${network.spec.name} of this host (${subnet})` }]
      : [];
  });
  if (rowNamed(here, "networks", spec.name)?.spec.name === spec.name)
    throw new EngineError("conflict", `network with name ${spec.name} already exists`);
  const wish = {
    spec,
    severalSubnets: driver.severalSubnets,
    others,
    hostRoutes: parts.host.routes(),
    lenientCidr: parts.settings.lenientCidr,
    createdAt: new Date().toISOString(),
    ...(vni !== undefined && { vni }),
    isEncrypted,
  };
  return { id: await parts.membership.update((tx) => openNetwork(tx, wish).id), warning };
}

/** @throws {EngineError} unavailable on a worker, forbidden while containers are on it, with Docker's texts */
export async function removeClusterNetwork(parts: Parts, network: Network): Promise<void> {
  await parts.membership.update((tx) => closeNetwork(tx, network.id));
}

/** Docker's rules for networks of a swarm (moby/swarmkit manager/controlapi/network.go, common.go). @throws {EngineError} */
function checkClusterSpec(parts: Parts, { name, ipv4, ipam, ingress, attachable }: NetworkSpec): void {
  const wrong = (text: string) => invalid(`rpc error: code = InvalidArgument desc = ${text}`);
  if (!/^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/.test(name)) throw wrong("name must be valid as a DNS name component");
  if (name.length > 63) throw wrong("name must be 63 characters or fewer");
  if (!ipv4) throw invalid("IPv4 cannot be disabled in a Swarm scoped network");
  if (ipam.driver !== "default")
    throw invalid(`ipam driver ${ipam.driver}: networks of a swarm have their addresses from it`);
  const [key] = Object.keys(ipam.options);
  if (key !== undefined) throw invalid(`unknown IPAM option "${key}": there is none for networks of a swarm`);
  if (ingress && attachable) throw invalid("ingress network cannot be attachable");
  const present = clusterRows(parts)
    ?.list("networks")
    .find(({ spec }) => ingress && spec.ingress);
  if (present !== undefined) throw new EngineError("conflict", `ingress network (${present.id}) is already present`);
}

function checkManager({ membership }: Parts): void {
  try {
    membership.control();
  } catch (error) {
    const isWorker = error instanceof EngineError && error.message === texts.worker;
    // moby libnetwork/controller.go, daemon/network.go
    throw forbidden(
      isWorker
        ? "Cannot create a multi-host network from a worker node. Please create the network from a manager node."
        : (error as Error).message,
    );
  }
}
