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

/** A swarm that is played, and what was asked of it. @param said what init answers, and the unlock key */
export function playSwarm({ init, unlockKey }: { readonly init: string; readonly unlockKey: string }) {
  const asked: { verb: string; what: unknown }[] = [];
  const note =
    <R>(verb: string, answer: R) =>
    async (...what: unknown[]) => {
      asked.push({ verb, what: what.length > 1 ? what : what[0] });
      return answer;
    };
  const swarm = {
    init: note("init", init),
    join: note("join", undefined),
    leave: note("leave", undefined),
    update: note("update", undefined),
    unlock: note("unlock", undefined),
    rotateKeys: note("rotateKeys", { generation: 2, nodes: ["h1"], away: ["h2"] }),
    rotateKeysEvery: note("rotateKeysEvery", undefined),
    unlockKey: () => unlockKey,
    inspect: () => detail(),
  };
  return { asked, note, swarm };
}
