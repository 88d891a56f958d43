import { newCluster, newNode } from "../../cluster/testing.ts";
import { readIssuer } from "../../cluster/identity/sign.ts";
import type { ClusterDetail, NodeDetail, SwarmStanding, TlsDetail } from "../../engine/engine.ts";
import type { ClusterSpec } from "../../model/cluster.ts";

export const cluster = newCluster({ version: 10, createdAt: 1_700_000_000_000, updatedAt: 1_700_000_001_500 });
const { certificate: roots } = cluster.authority.root;
const { name: subject, publicKey } = readIssuer(roots);
export const tls: TlsDetail = { roots, issuer: { subject, publicKey } };

export const detail = (spec: ClusterSpec = cluster.spec): ClusterDetail => ({
  cluster: { ...cluster, spec },
  tls,
  tokens: { worker: "SWMTKN-1-dd-worker", manager: "SWMTKN-1-dd-manager" },
  rotating: false,
});

export const leader: NodeDetail = {
  tls,
  node: newNode({
    id: "leader0000000000000000000",
    version: 9,
    createdAt: 1_700_000_000_000,
    updatedAt: 1_700_000_002_000,
    hostname: "h1",
    role: "manager",
    labels: { rack: "r1" },
    status: { state: "ready", message: "", address: "192.0.2.1" },
    manager: { address: "192.0.2.1:2377", reachability: "reachable", leader: true, memberId: "ab" },
  }),
};
export const worker: NodeDetail = {
  tls,
  node: newNode({
    id: "worker0000000000000000000",
    availability: "drain",
    status: { state: "down", message: "heartbeat failure", address: "" },
  }),
};

export const standing: SwarmStanding = {
  state: "active",
  nodeId: leader.node.id,
  nodeAddress: "192.0.2.1",
  controlAvailable: true,
  error: "",
  managers: [{ nodeId: leader.node.id, address: "192.0.2.1:2377" }],
  control: { cluster: detail(), nodes: 2, managers: 1 },
};
