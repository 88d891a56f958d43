import type { ServiceImpl } from "@connectrpc/connect";
import { rpcError } from "../../lib/errors.ts";
import {
  type Cluster,
  type ClusterNode,
  type NodeDescription,
  type NodeRole,
  observed,
  unsaid,
} from "../../model/cluster.ts";
import type { Snapshot, Transaction } from "../../store/store.ts";
import { type Certified, clusterIn, type Holder, managersIn, nodeIdOf } from "../certificates.ts";
import { type SigningParts, updateCertified } from "./certified-update.ts";
import { callerOf } from "../calls/control-server.ts";
import type { Join, Node } from "../gen/control_pb.ts";
import { trustBundle } from "../identity/authority.ts";
import { readRequest } from "../identity/csr.ts";
import { digestOf, formatToken, sameSecret } from "../identity/token.ts";
import { removedNode } from "../removal.ts";
import { availabilityFromWire, descriptionFromWire, roleToWire } from "../calls/wire.ts";
import { WrongTokens } from "../calls/wrong-tokens.ts";

/**
 * A manager's answers to hosts that join. All fields of a certificate are decided here; of the request counts the key. The
 * token is measured by the rows that the node's row is written on: one that was rotated a moment before makes no node.
 */
export function joinService(parts: SigningParts): ServiceImpl<typeof Join> {
  const { store, now } = parts;
  const wrong = new WrongTokens(now);
  return {
    getRootCertificate: () => ({ certificate: clusterIn(store.snapshot()).authority.root.certificate }),

    async issueCertificate({ token, csr, ...request }, context) {
      const { address } = callerOf(context);
      wrong.check(address);
      const holder = (rows: Snapshot) => {
        const role = roleOf(clusterIn(rows), token);
        if (role === undefined) return undefined;
        const description = descriptionFromWire(request.description);
        const nodeId = nodeIdOf(readRequest(csr));
        return { nodeId, role: rows.get("nodes", nodeId)?.role ?? role, description };
      };
      const write = (tx: Transaction, { pem, facts }: Certified, joiner: NonNullable<ReturnType<typeof holder>>) => {
        const { nodeId: id, role, description } = joiner;
        const known = tx.get("nodes", id);
        // What a node says of itself counts when it comes with its certificate.
        const row =
          known === undefined
            ? newRow({ ...unsaid(description), id, role }, availabilityFromWire(request.availability), facts, now())
            : observed(known, { certificate: facts }, now());
        tx.put("nodes", row);
        const cluster = clusterIn(tx);
        const managers = managersIn(tx).map(({ address }) => address);
        return { row, pem, clusterId: cluster.id, roots: trustBundle(cluster.authority), managers };
      };
      const result = await updateCertified(parts, { csr, holder, write }, context.signal);
      if (result === undefined) {
        wrong.add(address);
        // moby/swarmkit ca/server.go, IssueNodeCertificate
        throw rpcError("InvalidArgument", "A valid join token is necessary to join this cluster");
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
export function renewCertificate(parts: SigningParts): ServiceImpl<typeof Node>["renewCertificate"] {
  return async ({ csr }, context) => {
    const nodeId = callerOf(context).identity?.nodeId ?? "";
    const rowIn = (rows: Snapshot) => {
      const node = rows.get("nodes", nodeId);
      if (node === undefined) throw removedNode(nodeId);
      return node;
    };
    const holder = (rows: Snapshot): Holder => ({ nodeId, role: rowIn(rows).role });
    const write = (tx: Transaction, { pem, facts }: Certified, { role }: Holder) => {
      tx.put("nodes", observed(rowIn(tx), { certificate: facts }, parts.now()));
      return { role: roleToWire[role], certificate: pem, roots: trustBundle(clusterIn(tx).authority) };
    };
    return (await updateCertified(parts, { csr, holder, write }, context.signal)) ?? {};
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
