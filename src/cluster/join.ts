import type { ServiceImpl } from "@connectrpc/connect";
import { forbidden, invalid } from "../lib/errors.ts";
import { type Cluster, type ClusterNode, type NodeDescription, type NodeRole, observed } from "../model/cluster.ts";
import type { Store } from "../store/store.ts";
import { certify, clusterIn, managersIn, nodeIdOf } from "./certificates.ts";
import { callerOf } from "./control-server.ts";
import type { Join, Node } from "./gen/control_pb.ts";
import { trustBundle } from "./identity/authority.ts";
import { readRequest } from "./identity/csr.ts";
import { digestOf, formatToken, sameSecret } from "./identity/token.ts";
import { availabilityFromWire, descriptionFromWire, roleToWire } from "./wire.ts";
import { WrongTokens } from "./wrong-tokens.ts";

export interface JoinParts {
  readonly store: Store;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
}

/**
 * A manager's answers to hosts that join. All fields of a certificate are decided here; of the request counts the key. The
 * token is measured by the rows that the node's row is written on: one that was rotated a moment before makes no node.
 */
export function joinService({ store, now }: JoinParts): ServiceImpl<typeof Join> {
  const wrong = new WrongTokens(now);
  return {
    getRootCertificate: () => ({ certificate: clusterIn(store.snapshot()).authority.root.certificate }),

    async issueCertificate({ token, csr, ...request }, context) {
      const { address } = callerOf(context);
      wrong.check(address);
      const { result } = await store.update((tx) => {
        const cluster = clusterIn(tx);
        const role = roleOf(cluster, token);
        if (role === undefined) return undefined;
        const description = descriptionFromWire(request.description);
        const nodeId = nodeIdOf(readRequest(csr));
        const known = tx.get("nodes", nodeId);
        const { pem, facts } = certify(cluster, csr, nodeId, known?.role ?? role, now());
        const row =
          known === undefined
            ? newRow({ ...description, id: nodeId, role }, availabilityFromWire(request.availability), facts, now())
            : observed(known, { ...description, certificate: facts }, now());
        tx.put("nodes", row);
        return {
          row,
          pem,
          clusterId: cluster.id,
          roots: trustBundle(cluster.authority),
          managers: managersIn(tx).map(({ address }) => address),
        };
      }, context.signal);
      if (result === undefined) {
        wrong.add(address);
        // moby/swarmkit ca/server.go, IssueNodeCertificate
        throw invalid("rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster");
      }
      const { row, pem, ...others } = result;
      return { nodeId: row.id, role: roleToWire[row.role], certificate: pem, ...others };
    },

    certificateStatus({ csr }) {
      const node = store.snapshot().get("nodes", nodeIdOf(readRequest(csr)));
      return node === undefined ? {} : { nodeId: node.id, role: roleToWire[node.role] };
    },
  };
}

/**
 * A node's new certificate, with the role that its row has now.
 * @returns the handler of `renewCertificate`
 */
export function renewCertificate({ store, now }: JoinParts): ServiceImpl<typeof Node>["renewCertificate"] {
  return async ({ csr }, context) => {
    const nodeId = callerOf(context).identity?.nodeId ?? "";
    const { result } = await store.update((tx) => {
      const cluster = clusterIn(tx);
      const node = tx.get("nodes", nodeId);
      if (node === undefined) throw forbidden(`node ${nodeId} was removed from the swarm`);
      const { pem, facts } = certify(cluster, csr, nodeId, node.role, now());
      tx.put("nodes", observed(node, { certificate: facts }, now()));
      return { role: roleToWire[node.role], certificate: pem, roots: trustBundle(cluster.authority) };
    }, context.signal);
    return result;
  };
}

/** Compares with both tokens, whatever the first comparison says; each takes the same time for every text. */
function roleOf({ authority, tokens }: Cluster, token: string): NodeRole | undefined {
  const digest = digestOf(authority.root.certificate);
  const [worker, manager] = (["worker", "manager"] as const).map((role) =>
    sameSecret(formatToken({ digest, secret: tokens[role] }), token),
  );
  if (manager === true) return "manager";
  return worker === true ? "worker" : undefined;
}

/** The row of a node that nobody has heard of yet. */
export const newRow = (
  node: Pick<ClusterNode, "id" | "role"> & NodeDescription,
  availability: ClusterNode["availability"],
  certificate: ClusterNode["certificate"],
  now: number,
): ClusterNode => ({
  ...node,
  version: 1,
  createdAt: now,
  updatedAt: now,
  availability,
  labels: {},
  membership: "accepted",
  certificate,
  status: { state: "unknown", message: "", address: "" },
});
