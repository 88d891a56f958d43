import { X509Certificate } from "node:crypto";
import { dnsNamesOf, type Subject } from "./authority.ts";
import { backdate, identityOf, readCertificates } from "./certificate.ts";
import { children, contentOf, tag } from "./der.ts";
import type { TrustedRoot } from "../../model/cluster.ts";
import { readIssuer } from "./sign.ts";

/** What a manager has asked a CA for. */
export interface Asked {
  readonly subject: Subject;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly root: TrustedRoot;
}

const leastLife = 1_800_000; // milliseconds: a node has to have time to renew it
const purposes = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"] as const; // TLS server and client
const usage = "551d0f"; // object id, hex
const digitalSignature = 0x80; // bit 0 of the first byte
/** Extensions that TLS knows what to do with, of those a node's certificate may insist on; object ids, hex. */
const understood = [usage, "551d11", "551d13", "551d25"]; // key usage, names, basic constraints, purposes

type Objection = readonly [isSo: boolean, what: string];
const first = (objections: readonly Objection[]) => objections.find(([isSo]) => isSo)?.[1];

/** @returns the one certificate of a PEM text; undefined for anything else */
export function readOnly(pem: string): X509Certificate | undefined {
  try {
    const [certificate, ...more] = readCertificates(pem);
    readIssuer(certificate?.toString() ?? ""); // is it DER
    return more.length === 0 ? certificate : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A CA outside of the swarm signs what it likes. Only what says exactly what the manager has decided is taken; the CA
 * decides when it ends, within what the swarm allows (CFSSL takes no time over HTTP).
 * @param now milliseconds since 1970
 * @returns what is wrong with it; undefined when nothing is
 */
export function objectionTo(certificate: X509Certificate, { subject, publicKey, root }: Asked, now: number) {
  const identity = identityOf(certificate);
  const wanted = dnsNamesOf(subject).map((name) => `DNS:${name}`);
  const names = certificate.subjectAltName?.split(", ") ?? [];
  return first([
    [!isSigned(certificate, root), "it is not signed by the swarm's root CA"],
    [!hasKey(certificate, publicKey), "it is for another key"],
    ...(["nodeId", "role", "clusterId"] as const).map(
      (field): Objection => [identity?.[field] !== subject[field], "it is for another subject"],
    ),
    [names.toSorted().join() !== wanted.toSorted().join(), "it has other DNS names"],
    [certificate.ca, "it is that of a CA"],
    [!isForTls(certificate), "it is not for TLS servers and clients"],
    [!insistsOnKnown(certificate), "it insists on what TLS does not know"],
    ...lifeObjections(certificate, subject.expiry, now),
  ]);
}

function lifeObjections(certificate: X509Certificate, expiry: number, now: number): readonly Objection[] {
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  const hours = (milliseconds: number) => `${Math.round(milliseconds / 3_600_000)}h`;
  return [
    [from > now, "it is not valid yet: do the clocks differ?"],
    [to - now < leastLife, "it ends in less than half an hour"],
    [
      to - now > expiry + backdate,
      `it holds for ${hours(to - now)}, where the swarm's --cert-expiry is ${hours(expiry)}: change one of them`,
    ],
  ];
}

/**
 * The certificate by which nodes get from the present root to the next.
 * @param now milliseconds since 1970 @returns as `objectionTo`
 */
export function objectionToCross(cross: X509Certificate, root: TrustedRoot, next: TrustedRoot, now: number) {
  const wanted = new X509Certificate(next.certificate);
  const [from, to] = [cross.validFromDate.getTime(), cross.validToDate.getTime()];
  return first([
    [!isSigned(cross, root), "it is not signed by the swarm's root CA"],
    [!hasKey(cross, readIssuer(next.certificate).publicKey), "it is for another key"],
    [cross.subject !== wanted.subject, "it is for another subject"],
    [!cross.ca, "it is not that of a CA: the CA needs a profile CA for it"],
    [from > now || to - now < leastLife, "it is not valid now, or not for half an hour more"],
  ]);
}

function isSigned(certificate: X509Certificate, root: TrustedRoot): boolean {
  const issuer = new X509Certificate(root.certificate);
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

const hasKey = (certificate: X509Certificate, publicKey: Buffer) =>
  certificate.publicKey.export({ type: "spki", format: "der" }).equals(publicKey);

/** It may make signatures, and be a server's and a client's (RFC 5280 4.2.1.3, 4.2.1.12). */
function isForTls(certificate: X509Certificate): boolean {
  const bits = readIssuer(certificate.toString()).extensions.get(usage);
  const uses = certificate.keyUsage as readonly string[] | undefined; // undefined without the extension
  const maySign = bits === undefined || ((contentOf(bits, tag.bitString)[1] ?? 0) & digitalSignature) !== 0;
  return maySign && (uses === undefined || purposes.every((purpose) => uses.includes(purpose)));
}

/** False for a critical extension that OpenSSL would refuse the certificate for (RFC 5280 4.2). */
function insistsOnKnown(certificate: X509Certificate): boolean {
  const [content = certificate.raw] = children(certificate.raw);
  const list = children(content)
    .filter((part) => part[0] === 0xa3)
    .flatMap((part) => children(part, 0xa3))
    .flatMap((part) => children(part));
  const critical = list.map((one) => children(one)).filter((parts) => parts.length === 3);
  return critical.every(([id]) => id !== undefined && understood.includes(contentOf(id, tag.oid).toString("hex")));
}
