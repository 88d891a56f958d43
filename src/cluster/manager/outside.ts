import type { X509Certificate } from "node:crypto";
import { system, unavailable } from "../../lib/errors.ts";
import type { Cluster, ExternalAuthority, Root, TrustedRoot } from "../../model/cluster.ts";
import type { Credentials } from "../calls/control-server.ts";
import { certified, type Certified, certify, type Holder, subjectOf } from "../certificates.ts";
import { checkSubject, signingRoot, trustBundle } from "../identity/authority.ts";
import { readRequest } from "../identity/csr.ts";
import { askToSign, ExternalError, type ExternalTrust, reach, shownUrl } from "../identity/external.ts";
import { crossSignRequest, nodeSignRequest } from "../identity/external-requests.ts";
import { objectionTo, objectionToCross, readOnly } from "../identity/objections.ts";
import { readIssuer } from "../identity/sign.ts";
import { digestOf } from "../identity/token.ts";

/** Who speaks with CAs outside of the swarm. */
export interface Asker {
  /** This manager's key and certificate; undefined before it has any. */
  readonly own?: Pick<Credentials, "key" | "certificate">;
  /** Calls it off. */
  readonly signal?: AbortSignal;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
}

/** True when two PEM texts hold the same certificate. @throws nothing: what is no certificate is like none */
export function isSame(a: string, b: string): boolean {
  try {
    return digestOf(a) === digestOf(b);
  } catch {
    return false;
  }
}

/** The external CAs that sign in a root's name, in the user's order. */
export const externalsOf = (
  { certificates }: Pick<Cluster["spec"], "certificates">,
  root: TrustedRoot,
): readonly ExternalAuthority[] =>
  certificates.externalAuthorities.filter(({ certificate }) => isSame(certificate, root.certificate));

/** True when CAs outside of the swarm sign for it: those that the user names go before a key that is in the swarm, as in Docker. */
export const isSignedOutside = ({ spec, authority }: Cluster): boolean => {
  const root = signingRoot(authority);
  return root.key === undefined || externalsOf(spec, root).length > 0;
};

const trustOf = (roots: string, { own }: Asker): ExternalTrust => ({ roots, own });

/**
 * A node's certificate, by whoever signs for the cluster. External CAs are asked in their order, five seconds each.
 * @throws {CertificateRequestError}
 * @throws {EngineError} as `issue`; system, with each CA's URL and reason, when none gives the certificate that was asked for
 */
export async function certifyAnyhow(cluster: Cluster, csr: string, holder: Holder, asker: Asker): Promise<Certified> {
  if (!isSignedOutside(cluster)) return certify(cluster, csr, holder, asker.now());
  const { spec, authority } = cluster;
  const root = signingRoot(authority);
  const subject = subjectOf(cluster, holder);
  checkSubject(subject);
  const publicKey = readRequest(csr);
  if (readIssuer(root.certificate).to <= asker.now()) throw unavailable("the swarm's root CA has expired");
  const trust = trustOf(trustBundle(authority), asker);
  const asked = { subject, publicKey, root };
  const pem = await firstOf(externalsOf(spec, root), "no certificate from the external CA", async (url) => {
    const answer = await askToSign(url, nodeSignRequest(csr, subject), trust, asker.signal);
    return accepted(answer, (certificate) => objectionTo(certificate, asked, asker.now()));
  });
  return certified(cluster, pem + (authority.crossSigned ?? ""), holder.role);
}

/**
 * The next root signed by the present one, whose key only external CAs have.
 * @returns PEM
 * @throws {EngineError} system, with Docker's text (moby/swarmkit manager/controlapi/ca_rotation.go) and the reasons
 */
export function crossSignOutside(
  externals: readonly ExternalAuthority[],
  root: TrustedRoot,
  next: Root,
  asker: Asker,
): Promise<string> {
  const what = "unable to generate a cross-signed certificate for root rotation";
  return firstOf(externals, what, async (url) => {
    const trust = trustOf(root.certificate, asker);
    const answer = await askToSign(url, crossSignRequest(next), trust, asker.signal);
    return accepted(answer, (cross) => objectionToCross(cross, root, next, asker.now()));
  });
}

/** @returns PEM, in one form @throws {ExternalError} for what is no certificate, or one that there is something to object to */
function accepted(pem: string, objectionFrom: (certificate: X509Certificate) => string | undefined): string {
  const certificate = readOnly(pem);
  if (certificate === undefined) throw new ExternalError("it answered with no certificate, or several");
  const objection = objectionFrom(certificate);
  if (objection !== undefined) throw new ExternalError(`its certificate is refused: ${objection}`);
  return certificate.toString();
}

/** Why none of a root's external CAs can be reached. @returns undefined when one can, "" when there is none */
export async function unreachable(
  externals: readonly ExternalAuthority[],
  root: TrustedRoot,
  asker: Asker,
): Promise<string | undefined> {
  const reasons: string[] = [];
  for (const { url } of externals)
    try {
      await reach(url, trustOf(root.certificate, asker), asker.signal);
      return undefined;
    } catch (error) {
      reasons.push(reasonAt(url, error));
    }
  return reasons.join("; ");
}

async function firstOf(
  externals: readonly ExternalAuthority[],
  what: string,
  ask: (url: string) => Promise<string>,
): Promise<string> {
  const reasons: string[] = [];
  for (const { url } of externals)
    try {
      return await ask(url);
    } catch (error) {
      reasons.push(reasonAt(url, error));
    }
  throw system(`${what}: ${reasons.join("; ") || noneKnown}`);
}
const noneKnown =
  "the root's key is not in the swarm, and it knows no CA that has it: docker swarm update --external-ca";

/** @throws what is no answer of a CA */
function reasonAt(url: string, error: unknown): string {
  if (error instanceof ExternalError) return `${shownUrl(url)}: ${error.message}`;
  throw error;
}
