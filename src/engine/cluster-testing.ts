import { openIngress, openNetwork } from "../cluster/networks.ts";
import { newCluster, newNode } from "../cluster/testing.ts";
import { type ClusterNode } from "../model/cluster.ts";
import { type Network, type NetworkSpec, plainSpec } from "../model/network.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store, Transaction } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/** The rows of a swarm in memory: a manager, the ingress network, and what a test makes. */
export interface PlayedCluster {
  readonly store: Store;
  readonly manager: ClusterNode;
  /** A manager's membership: what the verbs ask of it. */
  readonly parts: Pick<Parts, "membership" | "store">;
  network(name: string, spec?: Partial<NetworkSpec>): Promise<Network>;
}

export async function playCluster(): Promise<PlayedCluster> {
  const store = createMemoryStore();
  const manager = newNode({
    id: "manager000000000000000000",
    hostname: "h1",
    role: "manager",
    status: { state: "ready", message: "", address: "192.0.2.1" },
  });
  await store.update((tx) => {
    tx.insert("clusters", newCluster());
    tx.insert("nodes", manager);
    openIngress(tx, [], 0);
  });
  const node = { hasMajority: true, state: { nodeId: manager.id }, look() {} };
  const membership = {
    control: () => ({ store, node }),
    current: () => store.snapshot(),
    update: async <R>(change: (tx: Transaction) => R) => (await store.update(change)).result,
  };
  const wish = {
    severalSubnets: true,
    others: [],
    hostRoutes: [],
    lenientCidr: false,
    createdAt: "2026-01-02T03:04:05Z",
  };
  return {
    store,
    manager,
    parts: { membership: membership as unknown as Parts["membership"], store: createMemoryStore() },
    network: async (name, spec = {}) => {
      const { result } = await store.update((tx) =>
        openNetwork(tx, { ...wish, spec: { ...plainSpec, name, driver: "overlay", ...spec } }),
      );
      return result;
    },
  };
}
