import { checkPolicy } from "../balancers/balancer.ts";
import { checkPublishAddress } from "../cluster/host-addresses.ts";
import { holderText } from "../cluster/node-ports.ts";
import { parseConstraints, readerOf } from "../cluster/orchestration/constraints.ts";
import { isLost } from "../cluster/orchestration/tasks.ts";
import { changeService, closeService, openService, rollBackService } from "../cluster/services.ts";
import { forbidden, invalid, rpcError } from "../lib/errors.ts";
import type { NetworkId } from "../model/ids.ts";
import { compareStates, type Service, type ServicePort, type ServiceSpec } from "../model/service.ts";
import { parseReference } from "../runtime/images/reference.ts";
import { rowNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import type { PortClaim } from "../store/tables.ts";
import { checkAliases, checkEndpointOptions } from "./attachments.ts";
import { checkSwarmName } from "./cluster-networks.ts";
import { newName } from "./create-container.ts";
import { nodeNamed, nodesAtWork } from "./nodes.ts";
import type { Filters, Services, ServiceStatus, ServiceUpdate } from "./engine.ts";
import { checkFilters, passesFilters, passesLabels } from "./filters.ts";
import { networkNamed, swarmObjectNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";
import { outOfSequence } from "./swarm.ts";

type ServiceParts = Pick<Parts, "membership" | "store" | "balancerNamed" | "host">;
const listFilters = ["id", "label", "mode", "name", "runtime"];

/** The verbs of `docker service`. Tasks are made, and ended, by the leader. */
export function createServices(parts: ServiceParts): Services {
  const { membership } = parts;
  const rows = () => membership.control().store.snapshot();
  return {
    newName,
    networkIds(references) {
      const all = rows();
      return references.map((reference) => networkIdOf(parts, all, reference));
    },
    async create(spec) {
      checkSpec(parts, rows(), spec);
      checkPublishAddress(rows(), spec.endpoint.ports);
      await checkOwnPorts(parts, spec.endpoint.ports, []);
      return (await membership.update((tx) => openService(tx, spec, Date.now()))).id;
    },
    list(filters, withStatus) {
      const all = rows();
      checkFilters(filters, listFilters);
      return all
        .list("services")
        .filter((service) => passes(service, filters))
        .map((service) => ({ service, ...(withStatus && { status: statusOf(all, service) }) }));
    },
    inspect: (reference) => swarmObjectNamed(rows(), "services", reference),
    async update(reference, change) {
      const { id, ports } = swarmObjectNamed(rows(), "services", reference);
      checkSpec(parts, rows(), change.spec);
      checkPublishAddress(rows(), change.spec.endpoint.ports, ports);
      await checkOwnPorts(parts, change.spec.endpoint.ports, ports);
      await membership.update((tx) => {
        const service = swarmObjectNamed(tx, "services", id);
        const spec = withAuth(service, change);
        if (service.version !== change.version) throw outOfSequence();
        changeService(tx, service, spec, Date.now());
      });
    },
    async rollBack(reference, version) {
      const { id } = swarmObjectNamed(rows(), "services", reference);
      await membership.update((tx) => {
        const service = swarmObjectNamed(tx, "services", id);
        if (service.version !== version) throw outOfSequence();
        rollBackService(tx, service, { message: "manually requested rollback", byUser: true }, Date.now());
      });
    },
    async remove(reference) {
      const { id } = swarmObjectNamed(rows(), "services", reference);
      await membership.update((tx) => closeService(tx, swarmObjectNamed(tx, "services", id)));
    },
    logs(reference, options, signal) {
      const { id, spec } = swarmObjectNamed(rows(), "services", reference);
      return { tty: spec.task.container.tty, lines: membership.logs({ service: id }, options, signal) };
    },
  };
}

/** @throws {EngineError} not-found; forbidden for a network of this host, with Docker's text */
function networkIdOf({ store }: ServiceParts, cluster: Snapshot, reference: string): NetworkId {
  const local = rowNamed(store.snapshot(), "networks", reference);
  if (local?.scope === "local" && rowNamed(cluster, "networks", reference) === undefined)
    throw forbidden(
      `The network ${local.spec.name} cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.`,
    );
  return networkNamed(cluster, reference).id;
}

function checkSpec({ balancerNamed }: ServiceParts, cluster: Snapshot, { name, task, balance }: ServiceSpec): void {
  checkSwarmName(name);
  for (const [balancer, nodes] of Map.groupBy(nodesAtWork(cluster), (node) => balancerNamed(node.balancer)))
    checkPolicy(
      balancer,
      balance,
      nodes.map(({ hostname }) => hostname),
    );
  parseConstraints(task.placement.constraints);
  const stray = task.placement.spread.find((key) => readerOf(key) === undefined);
  if (stray !== undefined)
    throw invalid(`placement preference spread=${stray} is not known: node.labels.KEY, for one, is`);
  const named = new Set<NetworkId>();
  for (const { network, driverOptions, aliases } of task.networks) {
    if (named.has(network)) {
      const { name } = cluster.get("networks", network)?.spec ?? { name: network };
      throw rpcError("InvalidArgument", `network ${name} is named twice`);
    }
    named.add(network);
    checkEndpointOptions(driverOptions);
    checkAliases(aliases);
    const taken = aliases.find((alias) => alias.toLowerCase().startsWith("tasks."));
    if (taken !== undefined)
      throw invalid(`alias ${taken}: names that begin with "tasks." lead to a service's tasks alone`);
  }
  const { image } = task.container;
  try {
    parseReference(image);
  } catch {
    throw rpcError("InvalidArgument", `ContainerSpec: ${JSON.stringify(image)} is not a valid repository/tag`);
  }
}

/**
 * A port that a container or a process of this host has would lead to the service, and to it no more. What containers of other
 * hosts have is in their nodes' rows. @param before what the service publishes already
 */
async function checkOwnPorts(
  { store, host, membership }: ServiceParts,
  ports: readonly ServicePort[],
  before: readonly ServicePort[],
): Promise<void> {
  const rows = store.snapshot();
  const refused = (published: number, container?: string) => {
    const { store: cluster, node } = membership.control();
    const own = nodeNamed(cluster.snapshot(), node.state.nodeId);
    return rpcError("InvalidArgument", `port '${published}' is already in use by ${holderText(own, container)}`);
  };
  for (const { mode, protocol, published, address = "0.0.0.0" } of ports) {
    const isOld = before.some((old) => old.protocol === protocol && old.published === published);
    if (mode !== "ingress" || published === 0 || isOld) continue;
    const [claim] = rows.where("ports", "number", `${protocol}|${published}`);
    if (claim !== undefined && !isOfService(rows, claim)) throw refused(published, containerOf(rows, claim));
    if (claim === undefined && (await host.portTaken(protocol, address, published)) === "address already in use")
      throw refused(published);
  }
}

/** True for a port that a service has asked for: that is told of the service, where its ports are claimed. */
function isOfService(rows: Snapshot, { protocol, hostPort, endpointId }: PortClaim): boolean {
  const endpoint = rows.get("endpoints", endpointId);
  const container = endpoint && rows.get("containers", endpoint.containerId);
  const task = container?.taskId === undefined ? undefined : rows.get("tasks", container.taskId);
  return task?.hostPorts.some((port) => port.protocol === protocol && port.published === hostPort) === true;
}

const containerOf = (rows: Snapshot, { endpointId }: PortClaim): string =>
  rows.get("endpoints", endpointId)?.containerName ?? endpointId;

/** A login that is not said again stays (moby daemon/cluster/services.go). */
function withAuth(service: Service, { spec, registryAuthFrom }: ServiceUpdate): ServiceSpec {
  if (spec.task.registryAuth !== undefined) return spec;
  const from = registryAuthFrom === "previous-spec" ? service.previous?.spec : service.spec;
  if (from === undefined) throw invalid("service does not have a previous spec");
  const { registryAuth } = from.task;
  return registryAuth === undefined ? spec : { ...spec, task: { ...spec.task, registryAuth } };
}

const passes = ({ id, spec }: Service, filters: Filters): boolean =>
  passesLabels(filters, spec.labels) &&
  passesFilters(filters, {
    id: (value) => id.startsWith(value),
    name: (value) => spec.name.startsWith(value),
    mode: (value) => spec.mode.kind === value,
    runtime: (value) => value === "container",
  });

/**
 * How many tasks there are and shall be (moby/swarmkit manager/controlapi/service.go, ListServiceStatuses). What a node that is
 * down has said last is not counted, nor what has no node to be on.
 */
function statusOf(rows: Snapshot, { id, spec, job }: Service): ServiceStatus {
  const tasks = rows
    .where("tasks", "service", id)
    .filter(({ jobIteration }) => job === undefined || jobIteration === job.iteration);
  const count = (isMeant: (task: (typeof tasks)[number]) => boolean) => tasks.filter(isMeant).length;
  const global = () =>
    job === undefined
      ? count(({ nodeId, desired }) => nodeId !== undefined && compareStates(desired, "running") <= 0)
      : count(
          ({ nodeId, desired, status }) =>
            nodeId !== undefined && desired === "complete" && status.state !== "complete",
        );
  const { mode } = spec;
  const desired =
    mode.kind === "replicated" ? mode.replicas : mode.kind === "replicated-job" ? mode.concurrent : global();
  return {
    running: count(({ status, nodeId = "" }) => status.state === "running" && !isLost(rows.get("nodes", nodeId))),
    desired,
    completed: job === undefined ? 0 : count(({ status }) => status.state === "complete"),
  };
}
