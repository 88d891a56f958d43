import { createHash, X509Certificate } from "node:crypto";
import { unavailable } from "../lib/errors.ts";
import type { Cluster, ClusterNode, NodeId, NodeRole } from "../model/cluster.ts";
import type { Snapshot } from "../store/store.ts";
import { issue, signingRoot, type Subject } from "./identity/authority.ts";
import { base36 } from "./identity/names.ts";
import { digestOf } from "./identity/token.ts";

/** @throws {EngineError} unavailable while there is no cluster in the store yet */
export function clusterIn(rows: Snapshot): Cluster {
  const [cluster] = rows.list("clusters");
  if (cluster === undefined) throw unavailable("the manager is being prepared");
  return cluster;
}

/** Where a manager's control port is. */
export interface ManagerAddress {
  readonly nodeId: NodeId;
  /** `address:port`. */
  readonly address: string;
}

/** The managers that can be asked; one that is demoted is among them while etcd counts on it. */
export const managersIn = (rows: Snapshot): ManagerAddress[] =>
  rows
    .where("nodes", "hasVote", "true")
    .flatMap(({ id, manager }) => (manager === undefined ? [] : [{ nodeId: id, address: manager.address }]));

/**
 * The id of the node that joins with a key: from the key itself, so that the node's row is the claim of the key, and two
 * managers that are asked at once make the same node. A host takes a new key each time it joins.
 * @param publicKey SubjectPublicKeyInfo, DER @returns 25 base-36 digits of 128 bits, the highest set
 */
export function nodeIdOf(publicKey: Buffer): NodeId {
  const bytes = createHash("sha256").update(publicKey).digest().subarray(0, 16);
  bytes[0] = (bytes[0] ?? 0) | 0x80;
  return base36(bytes, 25);
}

/** Whom a certificate is for. */
export interface Holder {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
}

/** A node's certificate and what its row says of it. */
export interface Certified {
  readonly pem: string;
  readonly facts: ClusterNode["certificate"];
}

/** With the cluster's expiry. */
export const subjectOf = ({ id, spec }: Cluster, holder: Holder): Subject => ({
  ...holder,
  clusterId: id,
  expiry: spec.certificates.nodeExpiry,
});

/**
 * A node's certificate by the root's key.
 * @throws {CertificateRequestError}
 * @throws {EngineError} as `issue`
 */
export const certify = (cluster: Cluster, csr: string, holder: Holder, now: number): Certified =>
  certified(cluster, issue(cluster.authority, csr, subjectOf(cluster, holder), now), holder.role);

/** @param pem the node's certificate comes first */
export function certified({ authority }: Cluster, pem: string, role: NodeRole): Certified {
  const certificate = new X509Certificate(pem);
  const fingerprint = createHash("sha256").update(certificate.raw).digest("hex");
  const root = digestOf(signingRoot(authority).certificate);
  return { pem, facts: { fingerprint, role, root, expiresAt: certificate.validToDate.getTime() } };
}
