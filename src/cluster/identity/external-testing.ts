import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  authorityExtensions,
  type Content,
  issuerKeyExtension,
  nameOf,
  nodeExtensions,
  readIssuer,
  signCertificate,
} from "./sign.ts";
import { newKey, publicKeyOf, readRequest } from "./csr.ts";
import type { Root } from "../../model/cluster.ts";
import { createRoot } from "./root.ts";
import { day, hour } from "./testing.ts";

/** What a CA is sent (CFSSL, doc/api/endpoint_sign.txt). */
export interface SignRequest {
  readonly certificate_request: string;
  readonly hosts?: readonly string[];
  readonly subject: { readonly CN: string; readonly names: readonly Readonly<Record<string, string>>[] };
  readonly profile?: string;
  /** Who showed a certificate: its subject's CN; "" for nobody. */
  readonly by: string;
}

/** What a CA does of its own accord, against what it was asked. */
export interface Whim {
  readonly content?: Partial<Content>;
  readonly names?: readonly string[];
  readonly unit?: string;
  readonly key?: string;
}

type Answer = readonly [number, string] | "silence" | undefined | void;

export interface CaOptions {
  readonly root?: Root;
  readonly whim?: Whim;
  /** Another answer than a certificate: status and body. "silence" is none at all. */
  readonly answer?: (request: SignRequest) => Answer | Promise<Answer>;
  /** True to refuse who has no certificate of the root. */
  readonly mutual?: boolean;
  /** Instead of 127.0.0.1. */
  readonly names?: readonly string[];
}

const loopback = Buffer.of(127, 0, 0, 1);
const success = (certificate: string) => JSON.stringify({ success: true, result: { certificate }, errors: [] });

/** A node's certificate as a CA makes it: CFSSL goes back five minutes. */
export function sign(root: Root, request: SignRequest, whim: Whim = {}): string {
  const issuer = readIssuer(root.certificate);
  const [{ OU = "", O = "" } = {}] = request.subject.names;
  const now = Date.now();
  const content = {
    issuer: issuer.name,
    subject: nameOf(["O", O], ["OU", whim.unit ?? OU], ["CN", request.subject.CN]),
    from: now - 300_000,
    to: now - 300_000 + 90 * day,
    publicKey: whim.key === undefined ? readRequest(request.certificate_request) : publicKeyOf(whim.key),
    extensions: [...nodeExtensions(whim.names ?? request.hosts ?? []), issuerKeyExtension(issuer.keyId)],
  };
  return signCertificate({ ...content, ...whim.content }, root.key);
}

/** The next root as a CA signs it that names keys by SHA-1, as CFSSL does: so the key's id is another one than its own. */
export function crossSign(root: Root, request: SignRequest, whim: Whim = {}): string {
  const publicKey = readRequest(request.certificate_request);
  const keyId = createHash("sha1").update(publicKey).digest();
  const extensions = authorityExtensions(keyId);
  return sign(root, request, {
    ...whim,
    content: { subject: nameOf(["CN", request.subject.CN]), extensions, ...whim.content },
  });
}

/** An external CA on loopback, with its own HTTPS server. */
export async function startCa(options: CaOptions = {}) {
  const root = options.root ?? createRoot();
  const key = newKey();
  const issuer = readIssuer(root.certificate);
  const cert = signCertificate(
    {
      issuer: issuer.name,
      subject: nameOf(["CN", "ca"]),
      from: Date.now() - hour,
      to: Date.now() + day,
      publicKey: publicKeyOf(key),
      extensions: nodeExtensions(options.names ?? [], options.names === undefined ? [loopback] : []),
    },
    root.key,
  );
  const requests: SignRequest[] = [];
  const tls = { key, cert, ca: root.certificate, requestCert: true, rejectUnauthorized: options.mutual ?? false };
  const respond = async (asked: IncomingMessage, response: ServerResponse) => {
    const by = (asked.socket as TLSSocket).getPeerCertificate().subject?.CN ?? "";
    const body = Buffer.concat(await asked.toArray()).toString();
    const request = { ...(JSON.parse(body) as Omit<SignRequest, "by">), by: [by].flat()[0] ?? "" };
    requests.push(request);
    const signed = (request.profile === "CA" ? crossSign : sign)(root, request, options.whim);
    const answer = (await options.answer?.(request)) ?? [200, success(signed)];
    if (answer === "silence") return;
    response.writeHead(answer[0]).end(answer[1]);
  };
  const server = createServer(tls, (asked, response) => void respond(asked, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const url = `https://127.0.0.1:${port}/api/v1/cfssl/sign`;
  return {
    root,
    requests,
    url,
    /** As `--external-ca protocol=cfssl,url=…,cacert=…` has it. */
    authority: { protocol: "cfssl", url, options: {}, certificate: root.certificate },
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
