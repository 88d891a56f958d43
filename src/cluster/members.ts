import type { NodeId } from "../model/cluster.ts";
import type { NetworkId } from "../model/ids.ts";
import type { Peer } from "../model/peer.ts";

/** How many endpoints each node has on each network of the cluster: who has one is told of the others. */
export class Members {
  readonly #counts = new Map<NetworkId, Map<NodeId, number>>();

  /** @returns true when it is the node's first on that network */
  add({ networkId, nodeId }: Peer): boolean {
    const counts = this.#counts.get(networkId) ?? new Map<NodeId, number>();
    this.#counts.set(networkId, counts);
    const count = counts.get(nodeId) ?? 0;
    counts.set(nodeId, count + 1);
    return count === 0;
  }

  /** @returns true when it was the node's last on that network */
  remove({ networkId, nodeId }: Peer): boolean {
    const counts = this.#counts.get(networkId);
    const count = counts?.get(nodeId) ?? 0;
    if (count > 1) counts?.set(nodeId, count - 1);
    else counts?.delete(nodeId);
    if (counts?.size === 0) this.#counts.delete(networkId);
    return count === 1;
  }

  nodesOn(network: NetworkId): Iterable<NodeId> {
    return this.#counts.get(network)?.keys() ?? [];
  }
}
