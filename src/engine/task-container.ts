import { ingressIn } from "../cluster/networks.ts";
import { architecture } from "../lib/machine.ts";
import type { Words } from "../lib/text-template.ts";
import type { NodeDescription } from "../model/cluster.ts";
import type { Attachment, Container, ContainerSpec } from "../model/container.ts";
import type { ContainerId, NetworkId } from "../model/ids.ts";
import { type ServiceNetwork, type ServicePort, type Task, taskName, type TaskTemplate } from "../model/service.ts";
import { filledIn, taskWords } from "../model/task-words.ts";
import type { Snapshot } from "../store/store.ts";
import type { ContainerRequest } from "./engine.ts";
import type { Parts } from "./parts.ts";

/** What a task's words can say of its node. */
type NodeFacts = Pick<NodeDescription, "hostname" | "platform">;
export const nodeFacts = ({ host }: Pick<Parts, "host">): NodeFacts => ({
  hostname: host.name,
  platform: { os: "linux", architecture },
});

/**
 * The container of a task, named and labelled as Docker does it (moby daemon/cluster/executor/container/container.go), its words
 * in `{{ }}` filled in. @param rows this host's own @throws {EngineError} invalid for a word that there is not
 */
export function containerOf(task: Task, node: NodeFacts, rows: Snapshot): ContainerRequest {
  const words = taskWords(task, node);
  const { container, shown } = task.template;
  const spec: ContainerSpec = {
    ...container,
    hostname: filledIn(container.hostname, words),
    env: container.env.map((entry) => filledEntry(entry, words)),
    mounts: container.mounts.map((one) => ({
      ...one,
      source: filledIn(one.source, words),
      target: filledIn(one.target, words),
    })),
    labels: { ...container.labels, ...labelsOf(task) },
    networkMode: "default",
    restart: { name: "no", maximumRetryCount: 0 },
    autoRemove: false,
    ports: task.hostPorts.map(({ protocol, target, published, address = "" }) => ({
      ...{ protocol, containerPort: target, hostIp: address, hostPort: published === 0 ? "" : String(published) },
    })),
  };
  return {
    name: taskName(task),
    spec,
    attachments: attachmentsOf(task, rows),
    shown: { config: shown.config, hostConfig: { ...shown.hostConfig, ...shownParts(task, words) } },
    platform: "",
    taskId: task.id,
  };
}

/** `KEY=value`: words are filled in the value alone, as in swarmkit. */
function filledEntry(entry: string, words: Words): string {
  const at = entry.indexOf("=");
  return at < 0 ? entry : entry.slice(0, at + 1) + filledIn(entry.slice(at + 1), words);
}

/** As inspect shows them. */
function shownParts({ template: { shown }, hostPorts }: Task, words: Words): object {
  const bindings = hostPorts.map(({ protocol, target, published, address = "" }) => [
    `${target}/${protocol}`,
    [{ HostIp: address, HostPort: published === 0 ? "" : String(published) }],
  ]);
  return { Mounts: filledValue(shown.hostConfig.Mounts, words), PortBindings: Object.fromEntries(bindings) as object };
}
function filledValue(value: unknown, words: Words): unknown {
  if (typeof value === "string") return filledIn(value, words);
  if (Array.isArray(value)) return value.map((one) => filledValue(one, words));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filledValue(one, words)]));
}

/** The volumes that must be made with labels before the container. @throws {EngineError} invalid, as `containerOf` */
export function volumesOf(task: Task, node: NodeFacts): TaskTemplate["volumes"] {
  const words = taskWords(task, node);
  return task.template.volumes.map(({ name, labels }) => ({
    name: filledIn(name, words),
    labels: Object.fromEntries(Object.entries(labels).map(([key, text]) => [key, filledIn(text, words)])),
  }));
}

/** The ports that its host has published for it, with the numbers that were chosen. */
export function portsOf({ hostPorts }: Task, rows: Snapshot, containerId: ContainerId): ServicePort[] {
  const bound = rows.where("endpoints", "container", containerId).flatMap(({ ports }) => ports);
  return hostPorts.flatMap((port) => {
    const found = bound.find((one) => one.protocol === port.protocol && one.containerPort === port.target);
    return found === undefined ? [] : [{ ...port, published: found.hostPort }];
  });
}

/** Where a container is on networks of the cluster. */
export const attachmentsIn = (rows: Snapshot, containerId: ContainerId): Task["attachments"] =>
  rows
    .where("endpoints", "container", containerId)
    .flatMap(({ networkId, addresses }) =>
      rows.get("networks", networkId)?.scope === "cluster" ? [{ network: networkId, addresses }] : [],
    );

/** A network of its service that a task's container is not on any more: there it is not reached. */
export const lostNetwork = (task: Task, { attachments }: Container, rows: Snapshot): NetworkId | undefined =>
  networksOf(task, rows).find((one) => !attachments.some(({ network }) => network === one.network))?.network;

const labelsOf = (task: Task): Record<string, string> => ({
  "com.docker.swarm.node.id": task.nodeId ?? "",
  "com.docker.swarm.service.id": task.serviceId,
  "com.docker.swarm.service.name": task.serviceName,
  "com.docker.swarm.task": "",
  "com.docker.swarm.task.id": task.id,
  "com.docker.swarm.task.name": taskName(task),
});

/** The networks of its service, and where published ports come in. */
function networksOf({ template, isOnIngress }: Task, rows: Snapshot): readonly ServiceNetwork[] {
  const ingress = isOnIngress ? ingressIn(rows) : undefined;
  return ingress === undefined ? template.networks : [...template.networks, plainly(ingress.id)];
}
const plainly = (network: NetworkId): ServiceNetwork => ({ network, aliases: [], driverOptions: {} });

/** A task without networks is on the host's default network. */
function attachmentsOf(task: Task, rows: Snapshot): Attachment[] {
  const networks = networksOf(task, rows);
  const usual = rows.get("names", "network|bridge") === undefined ? "none" : "bridge";
  return (networks.length > 0 ? networks : [plainly(usual)]).map((one) => ({
    ...one,
    linkLocal: [],
    links: [],
    gatewayPriority: 0,
  }));
}
