import { closeNetwork, openNetwork } from "../cluster/networks.ts";
import { routesOfNodes } from "../cluster/routes.ts";
import { texts } from "../cluster/texts.ts";
import type { NetworkDriver } from "../drivers/driver.ts";
import { conflict, EngineError, forbidden, invalid, rpcError } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Network, NetworkSpec } from "../model/network.ts";
import { compareStates } from "../model/service.ts";
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
  checkClusterSpec(spec);
  const here = parts.store.snapshot();
  const options = driver.readOptions(spec);
  const vni = driver.overHosts?.vni(options);
  const isEncrypted = driver.overHosts?.isEncrypted(options) === true;
  const warning = isEncrypted ? checkEncryption(parts.membership.current()) : "";
  const local = here.list("pools").flatMap(({ networkId, subnet }) => {
    const network = here.get("networks", networkId);
    return network?.scope === "local"
      ? [{ to: subnet, name: `network ${network.spec.name} of this host (${subnet})` }]
      : [];
  });
  // One that has just come may not have been told yet.
  const routes = parts.host.routes().map(({ to, link }) => ({ to, name: `this host's route ${to} on ${link}` }));
  // What this host has of the cluster's may be there for a moment after it was removed.
  const own = rowNamed(here, "networks", spec.name);
  if (own?.scope === "local" && own.spec.name === spec.name)
    throw conflict(`network with name ${spec.name} already exists`);
  const wish = {
    spec,
    severalSubnets: driver.severalSubnets,
    lenientCidr: parts.settings.lenientCidr,
    createdAt: new Date().toISOString(),
    ...(vni !== undefined && { vni }),
    isEncrypted,
  };
  failpoint("overlay.create.before-etcd");
  const id = await parts.membership.update(
    (tx) => openNetwork(tx, { ...wish, others: [...local, ...routesOfNodes(tx), ...routes] }).id,
  );
  failpoint("overlay.create.after-etcd");
  return { id, warning };
}

const patience = 30_000; // milliseconds: longer than tasks have to end in, as a rule

/**
 * Waits for tasks that are about to end: the network of a stack goes right after its services.
 * @throws {EngineError} unavailable on a worker, invalid while containers are on it, with Docker's texts
 */
export async function removeClusterNetwork({ membership }: Pick<Parts, "membership">, network: Network): Promise<void> {
  const { store } = membership.control();
  if (isLeftByTasks(store.snapshot(), network))
    for await (const { snapshot } of store.watch(AbortSignal.timeout(patience)))
      if (!isLeftByTasks(snapshot, network)) break;
  failpoint("overlay.remove.before-etcd");
  await membership.update((tx) => closeNetwork(tx, network.id));
  failpoint("overlay.remove.after-etcd");
}

/** True while tasks that are to end are on a network, and nobody else is. */
function isLeftByTasks(rows: Snapshot, { id }: Network): boolean {
  const peers = rows.where("peers", "network", id);
  return peers.length > 0 && peers.every(({ containerName }) => isEnding(rows, containerName));
}

/** @param name of a container, `web.1.<task id>` of a task's */
function isEnding(rows: Snapshot, name: string): boolean {
  const [, id] = /\.([0-9a-z]{25})$/.exec(name) ?? [];
  if (id === undefined) return false;
  const task = rows.get("tasks", id);
  if (task === undefined || rows.get("services", task.serviceId) === undefined) return true;
  return compareStates(task.desired, "running") > 0;
}

/** Docker's rules for networks of a swarm (moby/swarmkit manager/controlapi/network.go, common.go). @throws {EngineError} */
function checkClusterSpec({ name, ipv4, ipam, ingress, attachable }: NetworkSpec): void {
  checkSwarmName(name);
  if (!ipv4) throw invalid("IPv4 cannot be disabled in a Swarm scoped network");
  if (ipam.driver !== "default")
    throw invalid(`ipam driver ${ipam.driver}: networks of a swarm have their addresses from it`);
  const [key] = Object.keys(ipam.options);
  if (key !== undefined) throw invalid(`unknown IPAM option "${key}": there is none for networks of a swarm`);
  if (ingress && attachable) throw invalid("ingress network cannot be attachable");
}

/** A name of a network or a service, which DNS answers for (moby/swarmkit manager/controlapi/common.go). @throws {EngineError} invalid */
export function checkSwarmName(name: string): void {
  const wrong = (text: string) => rpcError("InvalidArgument", text);
  if (name === "") throw wrong("meta: name must be provided");
  if (name.length > 63) throw wrong("name must be 63 characters or fewer");
  if (!/^[a-zA-Z0-9](?:[\w-]*[a-zA-Z0-9])?$/.test(name)) throw wrong("name must be valid as a DNS name component");
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
