import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { bitString, children, contentOf, DerError, element, sequence, tag, toPem } from "./der.ts";

/** A certificate request that is none, or not one of ours. The message never holds what was sent. */
export class CertificateRequestError extends Error {
  override readonly name = "CertificateRequestError";
  readonly code = "BAD_REQUEST";
  constructor(what: string) {
    super(`malformed certificate request: ${what}`);
  }
}

const largest = 4096; // characters of PEM; ours have 350, those with long subjects a thousand
const form = /^-----BEGIN CERTIFICATE REQUEST-----\r?\n([\w+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*$/;
/** `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING 04 X Y }` up to the point's format (RFC 5480 2). */
const p256Prefix = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");
const p256Length = p256Prefix.length + 64;
const ecdsaSha256 = Buffer.from("300a06082a8648ce3d040302", "hex"); // RFC 5758 3.2
const version = Buffer.from("020100", "hex");
const attributesTag = 0xa0;

/** @returns a new P-256 private key, PKCS #8 in PEM */
export const newKey = (): string =>
  generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();

/** @returns SubjectPublicKeyInfo, DER, of a private key in PEM */
export const publicKeyOf = (keyPem: string): Buffer => createPublicKey(keyPem).export({ type: "spki", format: "der" });

/**
 * A request (RFC 2986) with nothing in it but the public key: a manager decides all the rest.
 * @param keyPem a P-256 private key @returns PEM
 */
export function createRequest(keyPem: string): string {
  const info = sequence(version, sequence(), publicKeyOf(keyPem), element(attributesTag));
  const signature = sign("sha256", info, createPrivateKey(keyPem));
  return toPem("CERTIFICATE REQUEST", sequence(info, ecdsaSha256, bitString(0, signature)));
}

/**
 * The public key of a request whose signature its owner made. Subject and attributes are skipped, not read.
 * @returns SubjectPublicKeyInfo, DER: 91 bytes, a point on P-256
 * @throws {CertificateRequestError} for anything but a DER request for P-256 signed with SHA-256
 */
export function readRequest(pem: string): Buffer {
  try {
    return keyIn(bytesOf(pem));
  } catch (error) {
    if (error instanceof DerError) throw new CertificateRequestError(error.message);
    throw error;
  }
}

function keyIn(der: Buffer): Buffer {
  const [info = der, algorithm, signature, ...more] = children(der);
  if (algorithm?.equals(ecdsaSha256) !== true || signature === undefined || more.length > 0)
    throw new CertificateRequestError("it is not signed by ECDSA with SHA-256");
  const [first, , publicKey, attributes, ...others] = children(info);
  if (first?.equals(version) !== true || attributes?.[0] !== attributesTag || others.length > 0)
    throw new CertificateRequestError("it is not of version 1");
  if (publicKey?.length !== p256Length || !publicKey.subarray(0, p256Prefix.length).equals(p256Prefix))
    throw new CertificateRequestError("its key is not of the curve P-256");
  if (!isSigned(info, publicKey, contentOf(signature, tag.bitString)))
    throw new CertificateRequestError("its signature is wrong");
  return Buffer.from(publicKey);
}

function bytesOf(pem: string): Buffer {
  if (pem.length > largest) throw new CertificateRequestError(`it is longer than ${largest} characters`);
  const base64 = (form.exec(pem)?.[1] ?? "").replace(/\r?\n/g, "");
  const bytes = Buffer.from(base64, "base64");
  // Node reads base64 leniently: what does not come out the same was not written so.
  if (bytes.length === 0 || bytes.toString("base64") !== base64) throw new CertificateRequestError("not PEM");
  return bytes;
}

/** A point off the curve and a signature that is no DER make node:crypto throw. */
function isSigned(info: Buffer, publicKey: Buffer, bits: Buffer): boolean {
  try {
    const key = createPublicKey({ key: publicKey, type: "spki", format: "der" });
    return bits[0] === 0 && verify("sha256", info, key, bits.subarray(1));
  } catch {
    return false;
  }
}
