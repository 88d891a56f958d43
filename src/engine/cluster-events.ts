import type { ClusterNode } from "../model/cluster.ts";
import { changesOf } from "../store/changes.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import type { EventBus } from "./events.ts";
import { publishServices } from "./service-events.ts";
import { actionOf, changedAttributes } from "./told-changes.ts";

/**
 * What became of nodes, networks, services, secrets and configs of the swarm, as events of scope `swarm` (moby
 * daemon/events.go). Managers tell, each its clients, whoever made the change.
 */
export function publishCluster(bus: EventBus, before: Snapshot, commit: Commit): void {
  publishNodes(bus, before, commit);
  for (const change of changesOf("networks", before, commit)) {
    const attributes = { name: (change.row ?? change.old)?.spec.name ?? "" };
    bus.publish({ type: "network", action: actionOf(change), id: change.key, attributes, scope: "swarm" });
  }
  publishServices(bus, before, commit);
}

function publishNodes(bus: EventBus, before: Snapshot, commit: Commit): void {
  for (const change of changesOf("nodes", before, commit)) {
    const { key, old, row: node } = change;
    const action = actionOf(change);
    const name = (node ?? old)?.hostname ?? "";
    const attributes = { name, ...(old !== undefined && node !== undefined && differences(old, node)) };
    if (action === "update" && Object.keys(attributes).length === 1 && old?.version === node?.version) continue;
    bus.publish({ type: "node", action, id: key, attributes, scope: "swarm" });
  }
}

const differences = (old: ClusterNode, node: ClusterNode) =>
  changedAttributes({
    availability: [old.availability, node.availability],
    role: [old.role, node.role],
    state: [old.status.state, node.status.state],
    ...(old.manager !== undefined &&
      node.manager !== undefined && {
        leader: [`${old.manager.leader}`, `${node.manager.leader}`] as const,
        reachability: [old.manager.reachability, node.manager.reachability] as const,
      }),
  });
