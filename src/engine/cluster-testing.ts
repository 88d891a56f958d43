import { balancerNamed } from "../balancers/index.ts";
import { openIngress, openNetwork } from "../cluster/networks.ts";
import { newSpec as plainServiceSpec } from "../cluster/orchestration/testing.ts";
import { newTask as plainTask, plainTemplate } from "../cluster/task-testing.ts";
import { newCluster, newNode } from "../cluster/testing.ts";
import type { ClusterNode } from "../model/cluster.ts";
import { type Network, type NetworkSpec, plainSpec } from "../model/network.ts";
import type { ServiceNetwork, ServicePort, ServiceSpec, Task, TaskTemplate } from "../model/service.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store, Transaction } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/** The rows of a swarm in memory: a manager, the ingress network, and what a test makes. */
export interface PlayedCluster {
  readonly store: Store;
  readonly manager: ClusterNode;
  /** A manager's membership: what the verbs ask of it. */
  readonly parts: Pick<Parts, "membership" | "store" | "balancerNamed" | "host">;
  /** Ports of this host that a process has: `tcp|22`. */
  readonly taken: Set<string>;
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
    openIngress(tx, 0);
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
  const taken = new Set<string>();
  const portTaken: Parts["host"]["portTaken"] = async (protocol, _, number) =>
    taken.has(`${protocol}|${number}`) ? "address already in use" : undefined;
  return {
    store,
    manager,
    taken,
    parts: {
      host: { portTaken } as Parts["host"],
      membership: membership as unknown as Parts["membership"],
      store: createMemoryStore(),
      balancerNamed,
    },
    network: async (name, spec = {}) => {
      const { result } = await store.update((tx) =>
        openNetwork(tx, { ...wish, spec: { ...plainSpec, name, driver: "overlay", ...spec } }),
      );
      return result;
    },
  };
}

export const port = (published: number, change: Partial<ServicePort> = {}): ServicePort => ({
  name: "",
  protocol: "tcp",
  target: 80,
  published,
  mode: "ingress",
  ...change,
});
export const onNetwork = (network: string, aliases: readonly string[] = []): ServiceNetwork => ({
  network,
  aliases,
  driverOptions: {},
});

/** The spec of a service of one task. */
export const newSpec = (
  change: Partial<Omit<ServiceSpec, "task">> & { readonly task?: Partial<TaskTemplate> } = {},
): ServiceSpec => plainServiceSpec({ ...change, task: { ...plainTemplate, ...change.task } });

/** A task that runs, of the first template of its service. */
export const newTask = (id: string, change: Partial<Task> & Pick<Task, "serviceId">): Task =>
  plainTask({
    id,
    serviceName: "s",
    slot: 0,
    status: { state: "running", at: 0, message: "", error: "" },
    ...change,
  });
