import { createHash, createPrivateKey, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { bitString, children, contentOf, element, objectId, sequence, tag, toPem } from "./der.ts";

/** What a certificate says (RFC 5280 4.1), all but serial number and signature. */
export interface Content {
  readonly issuer: Buffer; // Name, DER
  readonly subject: Buffer; // Name, DER
  readonly from: number; // milliseconds since 1970; certificates count whole seconds
  readonly to: number;
  readonly publicKey: Buffer; // SubjectPublicKeyInfo, DER
  readonly extensions: readonly Buffer[];
}

const version3 = Buffer.from("a003020102", "hex");
/** Signature algorithms with the hash of their strength (RFC 5758 3.2, RFC 4055 5). */
const algorithms = {
  "P-256": { hash: "sha256", identifier: Buffer.from("300a06082a8648ce3d040302", "hex") },
  "P-384": { hash: "sha384", identifier: Buffer.from("300a06082a8648ce3d040303", "hex") },
  RSA: { hash: "sha256", identifier: Buffer.from("300d06092a864886f70d01010b0500", "hex") },
} as const;

/** Signs a certificate of version 3 under a new serial number. @param keyPem ECDSA P-256 or P-384, or RSA @returns PEM */
export function signCertificate({ issuer, subject, from, to, publicKey, extensions }: Content, keyPem: string): string {
  const validity = sequence(time(from), time(to));
  const extra = element(0xa3, sequence(...extensions));
  const content = (algorithm: Buffer) =>
    sequence(version3, newSerial(), algorithm, issuer, validity, subject, publicKey, extra);
  return toPem("CERTIFICATE", signed(content, keyPem));
}

/** X.509's SIGNED: content, algorithm and signature. @param keyPem ECDSA P-256 or P-384, or RSA @returns DER */
export function signed(contentFor: (algorithm: Buffer) => Buffer, keyPem: string): Buffer {
  const key = createPrivateKey(keyPem);
  const { hash, identifier } = algorithms[kindOf(key)];
  const content = contentFor(identifier);
  return sequence(content, identifier, bitString(0, sign(hash, content, key)));
}

function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): keyof typeof algorithms {
  if (asymmetricKeyType === "rsa") return "RSA";
  return asymmetricKeyDetails?.namedCurve === "secp384r1" ? "P-384" : "P-256";
}

/** 126 random bits, positive and without zeros in front, so always 16 bytes (RFC 5280 4.1.2.2). */
function newSerial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return element(tag.integer, bytes);
}

/** Two digits for the year until 2049, four from then on (RFC 5280 4.1.2.5). */
function time(milliseconds: number): Buffer {
  const text = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, "");
  return text < "2050"
    ? element(tag.utcTime, Buffer.from(text.slice(2)))
    : element(tag.generalizedTime, Buffer.from(text));
}

const attribute = { CN: "550403", OU: "55040b", O: "55040a" } as const;

/** A distinguished name, DER, in the order given. */
export const nameOf = (...pairs: readonly (readonly [keyof typeof attribute, string])[]) =>
  sequence(
    ...pairs.map(([type, value]) =>
      element(tag.set, sequence(objectId(attribute[type]), element(tag.utf8String, Buffer.from(value)))),
    ),
  );

const critical = element(tag.boolean, Buffer.of(0xff));
const extensionId = {
  subjectKey: "551d0e",
  usage: "551d0f",
  names: "551d11",
  constraints: "551d13",
  issuerKey: "551d23",
  purpose: "551d25",
} as const;
const extension = (id: keyof typeof extensionId, value: Buffer, ...flags: readonly Buffer[]) =>
  sequence(objectId(extensionId[id]), ...flags, element(tag.octetString, value));

const serverAndClient = sequence(objectId("2b06010505070301"), objectId("2b06010505070302"));

/** Those of a CA: it signs certificates (RFC 5280 4.2.1.2, 4.2.1.3, 4.2.1.9). */
export const authorityExtensions = (keyId: Buffer): readonly Buffer[] => [
  extension("constraints", sequence(critical), critical), // cA TRUE
  extension("usage", bitString(1, Buffer.of(0x06)), critical), // keyCertSign, cRLSign
  extension("subjectKey", element(tag.octetString, keyId)),
];

/** Those of a TLS server and client that is no CA, with its DNS names and IP addresses (RFC 5280 4.2.1.6, 4.2.1.12). */
export const nodeExtensions = (names: readonly string[], addresses: readonly Buffer[] = []): readonly Buffer[] => [
  extension("constraints", sequence(), critical),
  extension("usage", bitString(7, Buffer.of(0x80)), critical), // digitalSignature
  extension("purpose", serverAndClient),
  extension(
    "names",
    sequence(
      ...names.map((name) => element(0x82, Buffer.from(name, "ascii"))),
      ...addresses.map((address) => element(0x87, address)),
    ),
  ),
];

/** Names the issuer's key, where an issuer has had two (RFC 5280 4.2.1.1). */
export const issuerKeyExtension = (keyId: Buffer) => extension("issuerKey", sequence(element(0x80, keyId)));

/** A public key's id: 160 bits of the SHA-256 of its bits (RFC 7093 2). @param publicKey SubjectPublicKeyInfo, DER */
export function keyIdOf(publicKey: Buffer): Buffer {
  const bits = contentOf(children(publicKey)[1] ?? publicKey, tag.bitString).subarray(1);
  return createHash("sha256").update(bits).digest().subarray(0, 20);
}

/** What signing needs of a CA's certificate. */
export interface Issuer {
  readonly name: Buffer; // byte for byte as the CA has it
  readonly publicKey: Buffer;
  readonly keyId: Buffer; // the one that the CA has given itself, if any
  readonly to: number; // milliseconds since 1970
  /** The extensions' values by their object id, hex. */
  readonly extensions: ReadonlyMap<string, Buffer>;
}

/** @throws {Error} when it is no certificate of version 3 in DER */
export function readIssuer(certificatePem: string): Issuer {
  const certificate = new X509Certificate(certificatePem);
  const [content = certificate.raw] = children(certificate.raw);
  const [, , , , , name, publicKey, ...optional] = children(content);
  if (name === undefined || publicKey === undefined) throw new Error("not a certificate of version 3");
  const list = optional
    .filter((o) => o[0] === 0xa3)
    .flatMap((o) => children(o, 0xa3))
    .flatMap((o) => children(o));
  const extensions = new Map(
    list.map((one) => {
      const [id = one, ...rest] = children(one);
      return [contentOf(id, tag.oid).toString("hex"), contentOf(rest.at(-1) ?? one, tag.octetString)];
    }),
  );
  const own = extensions.get(extensionId.subjectKey);
  const keyId = own === undefined ? keyIdOf(publicKey) : contentOf(own, tag.octetString);
  return { name, publicKey, keyId, to: certificate.validToDate.getTime(), extensions };
}
