import "reflect-metadata"; // the library's decorators need it to be there first
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type TLSSocket, type TlsOptions } from "node:tls";
import * as x509 from "@peculiar/x509";
import type { Authority, Root } from "../../model/cluster.ts";
import { issue, type Subject } from "./authority.ts";
import { createRequest, newKey } from "./csr.ts";
import { managerName, newSwarmId } from "./names.ts";
import { createRoot } from "./root.ts";

export { x509 };
export const hour = 3_600_000;
export const day = 24 * hour;
export const clusterId = newSwarmId();

export interface Node {
  readonly key: string;
  readonly cert: string;
  readonly subject: Subject;
}

export const newAuthority = (): Authority => ({ root: createRoot() });

/** A node with its certificate. `now` shifts its life. */
export function node(authority: Authority, wish: Partial<Subject> = {}, now = Date.now()): Node {
  const subject: Subject = { nodeId: newSwarmId(), role: "worker", clusterId, expiry: 90 * day, ...wish };
  const key = newKey();
  return { key, cert: issue(authority, createRequest(key), subject, now), subject };
}

export interface RootWish {
  readonly key?: string;
  readonly subject?: string;
  readonly issuer?: string;
  readonly from?: number;
  readonly to?: number;
  readonly extensions?: readonly x509.Extension[];
}

/** A root as somebody else could have made it, with another library. `from` and `to` count from now, in milliseconds. */
export async function foreignRoot(wish: RootWish = {}): Promise<Root> {
  const key = wish.key ?? newKey();
  const subject = wish.subject ?? "CN=Ours, OU=Unit, O=Example Ltd, C=DE";
  const algorithm = algorithmOf(key);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString("hex"),
    subject,
    issuer: wish.issuer ?? subject,
    notBefore: new Date(Date.now() + (wish.from ?? -day)),
    notAfter: new Date(Date.now() + (wish.to ?? 3000 * day)),
    publicKey: createPublicKey(key).export({ type: "spki", format: "der" }),
    signingKey: createPrivateKey(key).toCryptoKey(algorithm, false, ["sign"]),
    signingAlgorithm: algorithm,
    extensions: [...(wish.extensions ?? [new x509.BasicConstraintsExtension(true, undefined, true)])],
  });
  return { certificate: new X509Certificate(Buffer.from(certificate.rawData)).toString(), key };
}

function algorithmOf(keyPem: string) {
  const { asymmetricKeyDetails: { namedCurve } = {} } = createPrivateKey(keyPem);
  if (namedCurve === undefined) return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const curves: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };
  return { name: "ECDSA", namedCurve: curves[namedCurve] ?? "", hash: "SHA-384" };
}

export const rsaKey = (modulusLength: number) =>
  generateKeyPairSync("rsa", { modulusLength }).privateKey.export({ type: "pkcs1", format: "pem" }).toString();
export const ecKey = (namedCurve: string) =>
  generateKeyPairSync("ec", { namedCurve }).privateKey.export({ type: "sec1", format: "pem" }).toString();

/** How one TLS connection on loopback looks from the server; the client's error when it does not come about. */
export async function meet<R>(
  server: Node,
  client: { readonly key?: string; readonly cert?: string; readonly ca: string },
  { ca, look, ...options }: TlsOptions & { readonly ca: string; readonly look: (socket: TLSSocket) => R },
): Promise<R> {
  const { key, cert } = server;
  const seen = Promise.withResolvers<R>();
  const listener = createServer(
    { key, cert, ca, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3", ...options },
    (socket) => {
      seen.resolve(look(socket));
      socket.on("error", () => {}).end();
    },
  );
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const { port } = listener.address() as AddressInfo;
  const socket = connect({ port, host: "127.0.0.1", servername: managerName, ...client });
  socket.on("error", (error) => seen.reject(error)).resume();
  try {
    return await seen.promise;
  } finally {
    socket.destroy();
    listener.close();
  }
}
