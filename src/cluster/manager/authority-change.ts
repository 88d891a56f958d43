import { invalid } from "../../lib/errors.ts";
import type { Authority, Cluster, ClusterSpec, Root, TrustedRoot } from "../../model/cluster.ts";
import { checkUnlike, startRotation } from "../identity/authority.ts";
import { checkExternal } from "../identity/external.ts";
import { createRoot, readCertificate, readRoot } from "../identity/root.ts";
import { type Asker, crossSignOutside, externalsOf, isSame, unreachable } from "./outside.ts";

/** What the user says of the swarm's CA. */
export interface AuthorityWish {
  readonly spec: Pick<ClusterSpec, "certificates">;
  /** A root that the user brings; without its key, an external CA has to have that. */
  readonly signingRoot?: TrustedRoot | undefined;
}

/** @throws {EngineError} invalid for a CA outside of the swarm that is none, or a root that will not do */
function readWish({ spec, signingRoot }: AuthorityWish, now: number): TrustedRoot | undefined {
  for (const external of spec.certificates.externalAuthorities) checkExternal(external);
  if (signingRoot === undefined) return undefined;
  const { certificate, key } = signingRoot;
  return key === undefined ? { certificate: readCertificate(certificate, now) } : readRoot(certificate, key, now);
}

const wanted = (which: string, why = "") =>
  invalid(
    // moby/swarmkit manager/controlapi/ca_rotation.go, validateHasAtLeastOneExternalCA
    `there must be at least one valid, reachable external CA corresponding to the ${which} CA certificate${why && `: ${why}`}`,
  );

/**
 * The root that a swarm begins with: what the user brings, with or without its key, or one of our own.
 * @param now milliseconds since 1970
 * @throws {EngineError} invalid for a root that will not do, and for external CAs of which is not said whose certificates they sign
 */
export function firstRoot(wish: AuthorityWish, now: number): TrustedRoot {
  const { externalAuthorities: externals } = wish.spec.certificates;
  const brought = readWish(wish, now);
  const told = externals.find(({ certificate }) => certificate !== "")?.certificate;
  if (brought === undefined && told === undefined && externals.length > 0)
    throw invalid("a new swarm needs its external CA's root: --external-ca protocol=cfssl,url=https://…,cacert=FILE");
  const root = brought ?? (told === undefined ? createRoot(now) : { certificate: readCertificate(told, now) });
  if (externals.some(({ certificate }) => certificate !== "" && !isSame(certificate, root.certificate)))
    throw invalid("the external CAs of a new swarm must all have its root as their cacert");
  if (root.key === undefined && externals.length === 0) throw wanted("desired");
  return root;
}

/** An external CA without a certificate means the present root, as Docker says: the one of now, not of later. */
export const withCurrentRoot = (spec: ClusterSpec, { certificate: current }: TrustedRoot): ClusterSpec => ({
  ...spec,
  certificates: {
    ...spec.certificates,
    externalAuthorities: spec.certificates.externalAuthorities.map((external) => ({
      ...external,
      certificate: external.certificate || current,
    })),
  },
});

/**
 * The CA that a cluster is to have, by swarmkit's rules (manager/controlapi/ca_rotation.go, validateCAConfig): a root of ours or
 * the user's, with its key here or at an external CA. Reached are external CAs when something of the CA changes, not always.
 * @throws {EngineError} invalid, system, with swarmkit's texts and the reason
 */
export async function changedAuthority(cluster: Cluster, wish: AuthorityWish, asker: Asker): Promise<Authority> {
  const { authority } = cluster;
  const { root, next } = authority;
  const spec = withCurrentRoot({ ...cluster.spec, ...wish.spec }, root);
  const brought = readWish(wish, asker.now());
  const asksForRoot = spec.certificates.forceRotate > cluster.spec.certificates.forceRotate;
  const isPresent = brought !== undefined && isSame(brought.certificate, root.certificate);
  if (isPresent && brought.key !== undefined) return { root: brought };
  const isAbout = brought !== undefined || asksForRoot || differ(spec, cluster.spec);
  if (isAbout && root.key === undefined) await mustReach(spec, root, "current", asker);
  if (brought === undefined && !asksForRoot) {
    if (isAbout && next !== undefined && next.key === undefined) await mustReach(spec, next, "next", asker);
    return authority;
  }
  const wished = brought ?? createRoot(asker.now());
  if (wished.key === undefined) await mustReach(spec, wished, "desired", asker);
  if (isPresent) return { root: wished };
  if (next !== undefined && isSame(wished.certificate, next.certificate)) return { ...authority, next: wished };
  return rotated(authority, spec, wished, asker);
}

const differ = ({ certificates: a }: ClusterSpec, { certificates: b }: ClusterSpec) =>
  JSON.stringify(a.externalAuthorities) !== JSON.stringify(b.externalAuthorities);

async function mustReach(spec: ClusterSpec, root: TrustedRoot, which: string, asker: Asker): Promise<void> {
  const why = await unreachable(externalsOf(spec, root), root, asker);
  if (why !== undefined) throw wanted(which, why);
}

async function rotated(authority: Authority, spec: ClusterSpec, next: TrustedRoot, asker: Asker): Promise<Authority> {
  const { root } = authority;
  if (root.key !== undefined) return startRotation(authority, next, asker.now());
  if (!hasKey(next)) throw invalid("rotating from one external CA to a different external CA is not supported");
  checkUnlike(root, next);
  return { root, next, crossSigned: await crossSignOutside(externalsOf(spec, root), root, next, asker) };
}

const hasKey = (root: TrustedRoot): root is Root => root.key !== undefined;
