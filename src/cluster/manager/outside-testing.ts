import type { Cluster, ExternalAuthority, TrustedRoot } from "../../model/cluster.ts";
import { day } from "../identity/testing.ts";
import { newCluster } from "../testing.ts";

/** A cluster whose root's key is with CAs outside of it. @param expiry of nodes' certificates, milliseconds */
export function outside(root: TrustedRoot, externals: readonly ExternalAuthority[], expiry = 90 * day): Cluster {
  const authority = { root: { certificate: root.certificate } };
  return withExternals({ ...newCluster({ authority }) }, externals, expiry);
}

/** What a user says of its external CAs goes into the spec. */
export function withExternals<C extends Pick<Cluster, "spec">>(
  row: C,
  externals: readonly ExternalAuthority[],
  expiry = row.spec.certificates.nodeExpiry,
): C {
  const certificates = { ...row.spec.certificates, nodeExpiry: expiry, externalAuthorities: externals };
  return { ...row, spec: { ...row.spec, certificates } };
}
