import { invalid, system, unavailable } from "../../lib/errors.ts";
import { type Authority, checkExpiry, type TrustedRoot } from "../../model/cluster.ts";
import { backdate } from "./certificate.ts";
import { readRequest } from "./csr.ts";
import { type Identity, isSwarmId, managerName, unitOf } from "./names.ts";
import {
  authorityExtensions,
  issuerKeyExtension,
  nameOf,
  nodeExtensions,
  readIssuer,
  signCertificate,
} from "./sign.ts";

/** Whom a certificate is for, and for how long from now, in milliseconds. */
export interface Subject extends Identity {
  readonly expiry: number;
}

/** The root in whose name certificates are signed now. */
export const signingRoot = ({ root, next }: Authority): TrustedRoot => next ?? root;

/** The DNS names of a node's certificate. Managers alone have the one that clients ask for. */
export const dnsNamesOf = ({ nodeId, role }: Identity): readonly string[] => [
  unitOf[role],
  nodeId,
  ...(role === "manager" ? [managerName] : []),
];

/** @throws {EngineError} invalid for a short expiry or an id that is none */
export function checkSubject({ nodeId, clusterId, expiry }: Subject): void {
  checkExpiry(expiry);
  if (!isSwarmId(nodeId) || !isSwarmId(clusterId)) throw invalid("an id must have 25 base-36 digits");
}

/**
 * Issues a node's certificate by the root's key. Every field is decided here; only the public key is the request's. It
 * starts an hour ago and ends after `expiry`, or with the root.
 * @param now milliseconds since 1970
 * @returns PEM: the certificate, and the cross certificate while the root is rotated
 * @throws {CertificateRequestError} when the request is malformed, wrongly signed or not for P-256
 * @throws {EngineError} invalid for a short expiry or an id that is none, unavailable when the root has expired; system when
 *   its key is not in the swarm
 */
export function issue(authority: Authority, csrPem: string, subject: Subject, now = Date.now()): string {
  checkSubject(subject);
  const { nodeId, role, clusterId, expiry } = subject;
  const publicKey = readRequest(csrPem);
  const root = signingRoot(authority);
  const issuer = readIssuer(root.certificate);
  if (issuer.to <= now) throw unavailable("the swarm's root CA has expired");
  const content = {
    issuer: issuer.name,
    subject: nameOf(["CN", nodeId], ["OU", unitOf[role]], ["O", clusterId]),
    from: now - backdate,
    to: Math.min(now + expiry, issuer.to),
    publicKey,
    extensions: [...nodeExtensions(dnsNamesOf(subject)), ...issuerKey(authority, issuer.keyId)],
  };
  return signCertificate(content, keyOf(root)) + (authority.crossSigned ?? "");
}

/** An external CA names a key as it likes: a key id that is only in one of root and cross certificate would rule out the other. */
function issuerKey({ crossSigned }: Authority, keyId: Buffer): readonly Buffer[] {
  const isNamedAlike = crossSigned === undefined || readIssuer(crossSigned).keyId.equals(keyId);
  return isNamedAlike ? [issuerKeyExtension(keyId)] : [];
}

function keyOf({ key }: TrustedRoot): string {
  if (key === undefined) throw system("the key of the swarm's root CA is not in the swarm");
  return key;
}

/**
 * The next root's name and key, signed by the old one: a node that trusts only the old root gets from it to the new one.
 * @returns PEM
 * @throws {EngineError} invalid when the two have one key (swarmkit's text) or one name: no such chain verifies
 */
export function crossSign(old: TrustedRoot, next: TrustedRoot, now = Date.now()): string {
  checkUnlike(old, next);
  const [parent, child] = [readIssuer(old.certificate), readIssuer(next.certificate)];
  const content = {
    issuer: parent.name,
    subject: child.name,
    from: now - backdate,
    to: Math.min(parent.to, child.to),
    publicKey: child.publicKey,
    extensions: [...authorityExtensions(child.keyId), issuerKeyExtension(parent.keyId)],
  };
  return signCertificate(content, keyOf(old));
}

/** @throws {EngineError} invalid for two roots of which none can sign the other: as `crossSign` */
export function checkUnlike(old: TrustedRoot, next: TrustedRoot): void {
  const [parent, child] = [readIssuer(old.certificate), readIssuer(next.certificate)];
  if (parent.publicKey.equals(child.publicKey)) throw invalid("Cannot update to a cert with an identical key");
  if (parent.name.equals(child.name))
    throw invalid("the new root CA certificate must have another subject than the present one");
}

/** From now on `next` signs. A rotation that was under way is replaced: its nodes still come to the present root. */
export const startRotation = ({ root }: Authority, next: TrustedRoot, now = Date.now()): Authority => ({
  root,
  next,
  crossSigned: crossSign(root, next, now),
});

/** Once every node has a certificate of the next root: the old one is trusted no more. */
export const finishRotation = ({ root, next }: Authority): Authority => ({ root: next ?? root });

/** The roots that a node has to trust, PEM: the present one first, it is the one that join tokens name. */
export const trustBundle = ({ root, next }: Authority) => root.certificate + (next?.certificate ?? "");
