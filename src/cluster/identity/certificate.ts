import { X509Certificate } from "node:crypto";
import type { NodeRole } from "../../model/cluster.ts";
import { type Identity, isSwarmId, unitOf } from "./names.ts";

/** How far before its issue a certificate starts to be valid, so that clocks may differ: one hour, in milliseconds. */
export const backdate = 3_600_000;

/** @returns the certificates of a PEM text in their order @throws {Error} when one is none, or there is none */
export function readCertificates(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\w+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error("no certificate in the PEM text");
  return blocks.map((block) => new X509Certificate(block));
}

/** @returns whom a node's certificate speaks for; undefined when its subject is not exactly one CN, one OU and one O of ours */
export function identityOf(certificate: X509Certificate): Identity | undefined {
  // An attribute that is there twice is an array.
  const subject = certificate.toLegacyObject().subject as unknown as Readonly<Record<string, unknown>>;
  const { CN: nodeId, OU: unit, O: clusterId, ...others } = subject;
  const role = (Object.keys(unitOf) as NodeRole[]).find((r) => unitOf[r] === unit);
  if (role === undefined || typeof nodeId !== "string" || typeof clusterId !== "string") return undefined;
  if (!isSwarmId(nodeId) || !isSwarmId(clusterId) || Object.keys(others).length > 0) return undefined;
  return { nodeId, role, clusterId };
}

/**
 * The certificates from the first to a root, each signed by the next (RFC 5280 6.1, of which a swarm needs this much: one
 * intermediate at most, a root's cross certificate).
 * @param others certificates that the peer sent along: not trusted by themselves
 * @returns undefined when there is no such chain; dates are not looked at
 */
export function chainOf(
  certificate: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): readonly X509Certificate[] | undefined {
  const root = roots.find((r) => isIssuedBy(certificate, r));
  if (root !== undefined) return [certificate, root];
  const cross = others.find((o) => isIssuedBy(certificate, o) && roots.some((r) => isIssuedBy(o, r)));
  const anchor = cross && roots.find((r) => isIssuedBy(cross, r));
  return cross && anchor && [certificate, cross, anchor];
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate) =>
  issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
