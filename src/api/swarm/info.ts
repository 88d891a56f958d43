import type { SwarmStanding } from "../../engine/engine.ts";
import { clusterJson } from "./inspect.ts";

const twoManagers = `WARNING: Running Swarm in a two-manager configuration. This configuration provides
         no fault tolerance, and poses a high risk to lose control over the cluster.
         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the
         Swarm for fault-tolerance.`;

/** What `docker info` warns of. */
export const swarmWarnings = ({ control }: SwarmStanding) => (control?.managers === 2 ? [twoManagers] : []);

/** `Swarm` of `GET /info` (moby daemon/cluster/swarm.go, Info; fields in Docker's order). */
export function swarmInfoJson(standing: SwarmStanding): object {
  const { managers, control } = standing;
  const remotes = managers.map(({ nodeId, address }) => ({ NodeID: nodeId, Addr: address }));
  const warnings = swarmWarnings(standing);
  return {
    NodeID: standing.nodeId,
    NodeAddr: standing.nodeAddress,
    LocalNodeState: standing.state,
    ControlAvailable: standing.controlAvailable,
    Error: standing.error,
    RemoteManagers: remotes.length > 0 ? remotes : null,
    ...(control && { Nodes: control.nodes, Managers: control.managers, Cluster: clusterJson(control.cluster) }),
    ...(warnings.length > 0 && { Warnings: warnings }),
  };
}

/** The `Swarm` header of a ping, by which clients choose what commands they show. */
export const swarmHeader = ({ state, controlAvailable }: SwarmStanding): string =>
  state === "active" ? `active/${controlAvailable ? "manager" : "worker"}` : state;
