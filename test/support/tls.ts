import "reflect-metadata"; // the library's decorators need it to be there first
import { randomBytes, type webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const day = 86_400_000;

/** PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}
export interface TestAuthority {
  readonly ca: string;
  /** A certificate for servers and clients. */
  issue(names: { readonly dns: readonly string[]; readonly ip?: readonly string[] }): Promise<Certificate>;
}

const life = () => ({
  serialNumber: randomBytes(8).toString("hex"),
  notBefore: new Date(Date.now() - day),
  notAfter: new Date(Date.now() + day),
  signingAlgorithm: algorithm,
});
const newKeys = () =>
  crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;

/** An authority that lives as long as a test. */
export async function createTestAuthority(name: string): Promise<TestAuthority> {
  const root = await newKeys();
  const issuer = `CN=${name}`;
  const extensions = [new x509.BasicConstraintsExtension(true, undefined, true)];
  const ca = await x509.X509CertificateGenerator.createSelfSigned({ ...life(), name: issuer, keys: root, extensions });
  return { ca: ca.toString("pem"), issue: (names) => issue({ issuer, signingKey: root.privateKey }, names) };
}

async function issue(
  by: { readonly issuer: string; readonly signingKey: CryptoKey },
  { dns, ip = [] }: { readonly dns: readonly string[]; readonly ip?: readonly string[] },
): Promise<Certificate> {
  const { publicKey, privateKey } = await newKeys();
  const names = [
    ...dns.map((value) => ({ type: "dns" as const, value })),
    ...ip.map((value) => ({ type: "ip" as const, value })),
  ];
  const uses = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth];
  const extensions = [new x509.SubjectAlternativeNameExtension(names), new x509.ExtendedKeyUsageExtension(uses)];
  const made = await x509.X509CertificateGenerator.create({
    ...life(),
    ...by,
    subject: `CN=${dns[0]}`,
    publicKey,
    extensions,
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", privateKey));
  const lines = pkcs8.toString("base64").match(/.{1,64}/g) ?? [];
  const key = ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n");
  return { cert: made.toString("pem"), key };
}
