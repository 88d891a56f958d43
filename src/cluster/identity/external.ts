import type { IncomingMessage } from "node:http";
import { type RequestOptions, request } from "node:https";
import { connect } from "node:tls";
import { z } from "zod";
import { invalid } from "../../lib/errors.ts";

/** How a CA outside of the swarm is spoken with; PEM. */
export interface ExternalTrust {
  /** The CA's server has to show a certificate of one of these roots. */
  readonly roots: string;
  /** The manager's own certificate, shown to a server that asks for one. A manager has none yet when it begins a swarm. */
  readonly own?: { readonly key: string; readonly certificate: string } | undefined;
}

/** Why a CA gave no certificate. The message names neither keys nor what else was in the request. */
export class ExternalError extends Error {
  override readonly name = "ExternalError";
}

const patience = 5000; // milliseconds for connection and answer (moby/swarmkit ca/external.go, ExternalRequestTimeout)
const largest = 256 << 10; // bytes of an answer (CertificateMaxSize, ibid.)
const longest = 200; // characters of what a CA says that we repeat

/**
 * @param authority as `--external-ca protocol=cfssl,url=https://…` gives it (docs.docker.com, docker swarm init)
 * @throws {EngineError} invalid for another protocol, or a URL that is not https
 */
export function checkExternal({ protocol, url }: { readonly protocol: string; readonly url: string }): void {
  if (protocol.toLowerCase() !== "cfssl") throw invalid(`unrecognized external CA protocol ${protocol}`);
  if (URL.parse(url)?.protocol !== "https:") throw invalid("the external CA's url must be an https URL");
}

/** A URL as errors may show it: who puts a password into one does not want it in a log. */
export function shownUrl(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** CFSSL's envelope (github.com/cloudflare/cfssl doc/api/intro.txt). */
const answerForm = z.object({
  success: z.boolean(),
  result: z.object({ certificate: z.string() }).nullish(),
  errors: z.array(z.object({ message: z.string() })).nullish(),
});

/**
 * Has a request signed (doc/api/endpoint_sign.txt). What comes back is not looked at here.
 * @returns PEM
 * @throws {ExternalError} with the reason; the signal's reason when it is called off
 */
export async function askToSign(
  url: string,
  body: object,
  trust: ExternalTrust,
  signal?: AbortSignal,
): Promise<string> {
  const text = JSON.stringify(body);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  const { status, content } = await inTime(signal, (late) =>
    exchange(url, { ...tlsOf(trust), method: "POST", headers, signal: late }, text),
  );
  const answer = answerForm.safeParse(parsed(content)).data;
  if (status === 200 && answer?.success === true && answer.result) return answer.result.certificate;
  const said = (answer?.errors ?? []).map(({ message }) => message).join(", ");
  const what = said.replace(/[^\x20-\x7e]+/g, " ").slice(0, longest);
  throw new ExternalError(what === "" ? `it answered ${status} without a certificate` : `it said: ${what}`);
}

/** Whether a CA's server can be reached, and is whom its certificate says. @throws {ExternalError} as `askToSign` */
export async function reach(url: string, trust: ExternalTrust, signal?: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  await inTime(signal, async (late) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect({ host, port: Number(port || 443), servername: nameOf(host), ...tlsOf(trust) }, resolve);
    late.addEventListener("abort", () => reject(late.reason as Error));
    socket.once("error", reject);
    await promise.finally(() => socket.destroy());
  });
}

/** Server names are not addresses (RFC 6066 3). */
const nameOf = (host: string) => (/^[\d.]+$|:/.test(host) ? "" : host);

const tlsOf = ({ roots, own }: ExternalTrust): Pick<RequestOptions, "ca" | "key" | "cert"> => ({
  ca: roots,
  ...(own && { key: own.key, cert: own.certificate }),
});

async function exchange(
  url: string,
  options: RequestOptions,
  text: string,
): Promise<{ readonly status: number; readonly content: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  // Each call has its own connection: the certificates of both ends may be others by the next.
  const asked = request(url, { ...options, agent: false }, resolve).once("error", reject);
  asked.end(text);
  const answer = await promise;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > largest) throw new ExternalError(`its answer is longer than ${largest} bytes`);
  }
  return { status: answer.statusCode ?? 0, content: Buffer.concat(chunks).toString("utf8") };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

async function inTime<R>(signal: AbortSignal | undefined, call: (late: AbortSignal) => Promise<R>): Promise<R> {
  signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(patience);
  try {
    return await call(signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ExternalError) throw error;
    if (timeout.aborted) throw new ExternalError(`no answer within ${patience / 1000} s`);
    throw new ExternalError(reasonOf(error as Error));
  }
}

/** Of an address that did not answer, and of several that a name has; OpenSSL's messages have its source lines in them, its reasons not. */
const reasonOf = (error: Error & { readonly reason?: unknown }): string => {
  if (error instanceof AggregateError) return error.errors.map((one) => (one as Error).message).join(", ");
  return typeof error.reason === "string" ? error.reason : error.message;
};
