import type { ClusterNode } from "../../model/cluster.ts";
import type { Task } from "../../model/service.ts";
import type { Snapshot } from "../../store/store.ts";
import { encryptionLack } from "../encryption.ts";
import { ingressIn } from "../networks.ts";
import { holderOf } from "../node-ports.ts";
import { constraintsOf, satisfies } from "./constraints.ts";
import { fixedPorts, hasPort, type Room } from "./rooms.ts";

/** Why a task can not be on a node, and what is said of the nodes that it can not be on (moby/swarmkit manager/scheduler/filter.go). */
export interface Filter {
  readonly fits: (room: Room) => boolean;
  readonly explain: (nodes: string) => string;
}

/** The filters that ask for something, in the order in which they are asked. @param rows say which networks are encrypted */
export function filtersOf(task: Task, rows: Snapshot): Filter[] {
  const { placement, reservations, container } = task.template;
  const constraints = constraintsOf(placement);
  const ports = fixedPorts(task.hostPorts);
  const { nanoCpus, memory } = reservations;
  const filters: readonly (Filter & { readonly isAsked?: boolean })[] = [
    {
      fits: ({ node }) => node.status.state === "ready" && node.availability === "active",
      explain: (nodes) => `${nodes} not available for new tasks`,
    },
    {
      fits: ({ node: { resources }, load }) =>
        nanoCpus + load.nanoCpus <= resources.nanoCpus && memory + load.memory <= resources.memoryBytes,
      explain: (nodes) => `insufficient resources on ${nodes}`,
      isAsked: nanoCpus + memory > 0,
    },
    {
      fits: ({ node }) => container.nanoCpus <= node.resources.nanoCpus,
      explain: (nodes) => `fewer CPUs than the limit on ${nodes}`,
      isAsked: container.nanoCpus > 0,
    },
    {
      fits: ({ node }) => satisfies(node, constraints),
      explain: (nodes) => `scheduling constraints not satisfied on ${nodes}`,
      isAsked: constraints.length > 0,
    },
    {
      fits: ({ node }) => hasPlatform(node, placement.platforms),
      explain: (nodes) => `unsupported platform on ${nodes}`,
      isAsked: placement.platforms.length > 0,
    },
    {
      fits: ({ node }) => encryptionLack(node) === undefined,
      explain: (nodes) => `encrypted networks are not possible on ${nodes}: docker network inspect says why`,
      isAsked: isEncrypted(task, rows),
    },
    {
      fits: ({ load, node }) =>
        !ports.some((port) => hasPort(load, port)) &&
        !task.hostPorts.some((port) => holderOf(node, port) !== undefined),
      explain: (nodes) => `host-mode port already in use on ${nodes}`,
      isAsked: ports.length > 0,
    },
    {
      fits: ({ load }) => (load.byService.get(task.serviceId) ?? 0) < placement.maxPerNode,
      explain: () => "max replicas per node limit exceed", // Docker's text
      isAsked: placement.maxPerNode > 0,
    },
  ];
  return filters.filter(({ isAsked = true }) => isAsked);
}

/** True when a network of the task is encrypted, the one by which published ports come in among them. */
const isEncrypted = ({ template, isOnIngress }: Task, rows: Snapshot): boolean =>
  template.networks.some(({ network }) => rows.get("networks", network)?.isEncrypted) ||
  (isOnIngress && ingressIn(rows)?.isEncrypted === true);

/** Names of architectures that are one (moby/swarmkit). */
const architectures: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64" };
const architecture = (name: string) => architectures[name] ?? name;

/** True when the node's platform is one of these; where nothing is asked for, any is. */
export const hasPlatform = (
  { platform }: ClusterNode,
  platforms: Task["template"]["placement"]["platforms"],
): boolean =>
  platforms.length === 0 ||
  platforms.some(
    (one) =>
      (one.os === "" || one.os === platform.os) &&
      (one.architecture === "" || architecture(one.architecture) === architecture(platform.architecture)),
  );

/** @returns why the task fits nowhere of all these: each node counts for the first filter that it fails, the most first */
export function explain(filters: readonly Filter[], rooms: Iterable<Room>): string {
  const failed = new Map<Filter, number>();
  for (const room of rooms) {
    const filter = filters.find(({ fits }) => !fits(room));
    if (filter !== undefined) failed.set(filter, (failed.get(filter) ?? 0) + 1);
  }
  return filters
    .flatMap((filter) => ({ filter, count: failed.get(filter) ?? 0 }))
    .filter(({ count }) => count > 0)
    .toSorted((a, b) => b.count - a.count)
    .map(({ filter, count }) => filter.explain(count === 1 ? "1 node" : `${count} nodes`))
    .join("; ");
}
