import type { ClusterNode } from "../model/cluster.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import type { EventBus } from "./events.ts";

/** What became of nodes, as events of scope `swarm` (moby daemon/events.go, logNodeEvent). Managers tell, each its clients. */
export function publishNodes(bus: EventBus, before: Snapshot, { snapshot, changed }: Commit): void {
  for (const { table, key } of changed) {
    if (table !== "nodes") continue;
    const [old, node] = [before.get("nodes", key), snapshot.get("nodes", key)];
    const action = old === undefined ? "create" : node === undefined ? "remove" : "update";
    const name = (node ?? old)?.hostname ?? "";
    const attributes = { name, ...(old !== undefined && node !== undefined && differences(old, node)) };
    if (action === "update" && Object.keys(attributes).length === 1 && old?.version === node?.version) continue;
    bus.publish({ type: "node", action, id: key, attributes, scope: "swarm" });
  }
}

function differences(old: ClusterNode, node: ClusterNode): Record<string, string> {
  const told: Record<string, readonly [string | undefined, string | undefined]> = {
    availability: [old.availability, node.availability],
    role: [old.role, node.role],
    state: [old.status.state, node.status.state],
    ...(old.manager !== undefined &&
      node.manager !== undefined && {
        leader: [`${old.manager.leader}`, `${node.manager.leader}`] as const,
        reachability: [old.manager.reachability, node.manager.reachability] as const,
      }),
  };
  return Object.fromEntries(
    Object.entries(told).flatMap(([name, [was, is]]) =>
      was === is ? [] : [[`${name}.old`, was ?? ""] as const, [`${name}.new`, is ?? ""] as const],
    ),
  );
}
