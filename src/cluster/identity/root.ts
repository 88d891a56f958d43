import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { invalid } from "../../lib/errors.ts";
import type { Root } from "../../model/cluster.ts";
import { backdate } from "./certificate.ts";
import { newKey, publicKeyOf } from "./csr.ts";
import { children, contentOf, sequence, tag } from "./der.ts";
import { authorityExtensions, keyIdOf, nameOf, readIssuer, signCertificate } from "./sign.ts";

const year = 365 * 86_400_000; // milliseconds
const life = 20 * year; // moby/swarmkit ca/certificates.go, RootCAExpiration
const purpose = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;
/** Object ids of extensions, hex. */
const extension = { usage: "551d0f", constraints: "551d13", nameConstraints: "551d1e" } as const;
const keyCertSign = 0x04; // bit 5 of the first byte (RFC 5280 4.2.1.3)

/** A new root of 20 years. Its name holds its key's digest: a chain with two roots of one name does not verify. */
export function createRoot(now = Date.now()): Root {
  const key = newKey();
  const publicKey = publicKeyOf(key);
  const keyId = keyIdOf(publicKey);
  const name = nameOf(["CN", `swarm-ca ${keyId.toString("hex").slice(0, 16)}`]);
  const [from, to] = [now - backdate, now + life];
  const content = { issuer: name, subject: name, from, to, publicKey, extensions: authorityExtensions(keyId) };
  return { certificate: signCertificate(content, key), key };
}

/**
 * A root that the user brings: the two fit, it is a CA that signed itself, holds for a year more, and lets us rotate.
 * @returns both in one form, whatever forms they came in
 * @throws {EngineError} invalid, with swarmkit's texts where it has one (manager/controlapi/ca_rotation.go, ca/certificates.go)
 */
export function readRoot(certificatePem: string, keyPem: string, now = Date.now()): Root {
  const certificate = readOne(certificatePem);
  const key = readKey(keyPem);
  if (!certificate.checkPrivateKey(key)) throw invalid("certificate key mismatch");
  checkRoot(certificate, now);
  return { certificate: certificate.toString(), key: key.export({ type: "pkcs8", format: "pem" }).toString() };
}

/**
 * A root whose key is not in the swarm, held to the same.
 * @returns PEM, in one form
 * @throws {EngineError} invalid, as `readRoot`
 */
export function readCertificate(certificatePem: string, now = Date.now()): string {
  const certificate = readOne(certificatePem);
  checkRoot(certificate, now);
  return certificate.toString();
}

function checkRoot(certificate: X509Certificate, now: number): void {
  if (!isStrong(certificate.publicKey))
    throw invalid("the CA's key must be ECDSA P-256 or P-384, or RSA with 2048 bits or more");
  checkConstraints(certificate);
  if (!certificate.ca || !certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey))
    throw invalid("the desired CA certificate is not that of a root CA: it must be a CA and have signed itself");
  if (certificate.validToDate.getTime() < now + year) throw invalid("CA certificate expires too soon");
  if (certificate.validFromDate.getTime() > now) throw invalid("CA certificate is not valid yet");
}

/** What would make TLS refuse the certificates that we are going to issue is refused now (RFC 5280 4.2.1). */
function checkConstraints(certificate: X509Certificate): void {
  const { name, extensions } = readIssuer(certificate.toString());
  const usage = extensions.get(extension.usage);
  const purposes = certificate.keyUsage as readonly string[] | undefined; // undefined without the extension
  if (usage !== undefined && ((contentOf(usage, tag.bitString)[1] ?? 0) & keyCertSign) === 0)
    throw invalid("the desired CA certificate may not sign certificates");
  if (purposes !== undefined && ![purpose.server, purpose.client].every((p) => purposes.includes(p)))
    throw invalid("the desired CA certificate may not sign the certificates of TLS servers and clients");
  if (extensions.has(extension.nameConstraints) || children(name).length === 0)
    throw invalid("the desired CA certificate must have a subject, and no name constraints");
  const pathLength = children(extensions.get(extension.constraints) ?? sequence()).find((e) => e[0] === tag.integer);
  if (pathLength?.at(-1) === 0)
    throw invalid("the desired CA certificate must allow one CA below it: the next root, when this one is rotated");
}

function readOne(pem: string): X509Certificate {
  if ((pem.match(/-----BEGIN /g) ?? []).length > 1)
    throw invalid("the desired CA certificate cannot contain multiple certificates");
  try {
    readIssuer(pem); // what OpenSSL takes although it is no DER, we would not get the name out of
    return new X509Certificate(pem);
  } catch {
    throw invalid("could not parse the desired CA certificate");
  }
}

/** The cause is not passed on: it could hold the key. */
function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw invalid("malformed private key");
  }
}

function isStrong({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): boolean {
  if (type === "rsa") return (details.modulusLength ?? 0) >= 2048;
  return type === "ec" && ["prime256v1", "secp384r1"].includes(details.namedCurve ?? "");
}
