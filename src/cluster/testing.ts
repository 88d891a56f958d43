import { type Cluster, type ClusterNode, defaultExpiry, type NodeDescription } from "../model/cluster.ts";
import { newSwarmId } from "./identity/names.ts";
import { createRoot } from "./identity/root.ts";
import { clusterId } from "./identity/testing.ts";
import { newSecret } from "./identity/token.ts";
import { firstKeys } from "./key-rotation.ts";

/** A cluster's row as `swarm init` without flags makes it. */
export const newCluster = (wish: Partial<Cluster> = {}): Cluster => ({
  id: clusterId,
  version: 1,
  createdAt: 0,
  updatedAt: 0,
  spec: {
    name: "default",
    labels: {},
    taskHistoryLimit: 5,
    raft: {
      snapshotInterval: 10_000,
      keepOldSnapshots: 0,
      logEntriesForSlowFollowers: 500,
      electionTick: 10,
      heartbeatTick: 1,
    },
    heartbeatPeriod: 5000,
    certificates: { nodeExpiry: defaultExpiry, externalAuthorities: [], forceRotate: 0 },
    autolock: false,
  },
  addressPools: ["10.0.0.0/8"],
  subnetSize: 24,
  dataPathPort: 4789,
  tokens: { worker: newSecret(), manager: newSecret() },
  authority: { root: createRoot() },
  etcdAuthority: createRoot(),
  keyRotation: firstKeys(0),
  ...wish,
});

export const description: NodeDescription = {
  hostname: "h2",
  platform: { os: "linux", architecture: "x86_64" },
  resources: { nanoCpus: 2_000_000_000, memoryBytes: 4_000_000_000 },
  engineVersion: "28.0.0",
  engineLabels: {},
  drivers: [
    { type: "Network", name: "bridge" },
    { type: "Volume", name: "local" },
  ],
  addresses: { advertise: "192.0.2.2", dataPath: "192.0.2.2" },
};

export const newNode = (wish: Partial<ClusterNode> = {}): ClusterNode => ({
  id: newSwarmId(),
  version: 1,
  createdAt: 0,
  updatedAt: 0,
  ...description,
  role: "worker",
  availability: "active",
  labels: {},
  membership: "accepted",
  certificate: { fingerprint: "", role: wish.role ?? "worker", root: "", expiresAt: 0 },
  status: { state: "unknown", message: "", address: "" },
  ...wish,
});
