import { type IncomingMessage, type OutgoingHttpHeaders, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { invalid, unavailable } from "../../lib/errors.ts";

export interface HttpRequest {
  readonly method?: "GET" | "HEAD" | "POST" | "PUT";
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}
/** An answer. Its body is read, or let go by `discard`. */
export interface HttpReply {
  readonly status: number;
  readonly ok: boolean;
  /** Where it came from, after redirections. */
  readonly url: string;
  /** A header's value, "" when there is none. */
  header(name: string): string;
  readonly body: AsyncIterable<Uint8Array>;
  discard(): void;
  /** The whole body. @throws {EngineError} invalid for more than `limit` bytes */
  bytes(limit: number): Promise<Buffer>;
}
const mostRedirections = 10;

/**
 * Sends one request and follows redirections of those without a body. Unlike `fetch` it speaks to every port.
 * @throws {EngineError} unavailable, with Go's text as Docker shows it
 */
export async function send(url: string, wish: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
  let { method = "GET" } = wish;
  let { headers = {} } = wish;
  let at = urlOf(url);
  for (let redirections = 0; ; redirections += 1) {
    const response = await exchange(at, { ...wish, method, headers }, signal);
    const to = response.headers.location;
    const status = response.statusCode ?? 0;
    if (![301, 302, 303, 307, 308].includes(status) || to === undefined || wish.body !== undefined)
      return replyOf(response, at);
    response.resume();
    if (redirections === mostRedirections)
      throw unavailable(`${shown(method)} "${url}": stopped after ${mostRedirections} redirects`);
    const next = urlOf(to, at);
    // A password for one host is none of another's business.
    if (next.host !== at.host || next.protocol !== at.protocol)
      headers = Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== "authorization"));
    if (status <= 303 && method === "POST") method = "GET";
    at = next;
  }
}

function urlOf(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url === null || !/^https?:$/.test(url.protocol)) throw invalid(`the registry names a wrong address: "${text}"`);
  return url;
}

function exchange(url: URL, { method, headers, body }: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
  const request = url.protocol === "https:" ? tlsRequest : plainRequest;
  return new Promise((resolve, reject) => {
    const failed = (error: unknown) =>
      reject(
        signal.aborted ? (signal.reason as Error) : unavailable(`${shown(method)} "${url.href}": ${reasonOf(error)}`),
      );
    const sent = request(url, { ...(method && { method }), ...(headers && { headers }), signal });
    sent.on("response", resolve).on("error", failed);
    if (body === undefined || typeof body === "string" || body instanceof Uint8Array) sent.end(body);
    else pipeline(Readable.from(body, { objectMode: false }), sent).catch(failed);
  });
}

function replyOf(response: IncomingMessage, url: URL): HttpReply {
  const status = response.statusCode ?? 0;
  return {
    status,
    ok: status >= 200 && status < 300,
    url: url.href,
    header: (name) => String(response.headers[name] ?? ""),
    body: response,
    discard: () => void response.resume(),
    async bytes(limit) {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        size += chunk.length;
        if (size > limit) throw invalid(`the answer of "${url.href}" is too large`);
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    },
  };
}

/** `Get`, as Go's client begins its errors. */
const shown = (method = "GET") => method.charAt(0) + method.slice(1).toLowerCase();

const connectReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ETIMEDOUT: "connection timed out",
};

/** Why a request failed, as Go says it: `dial tcp 127.0.0.1:6000: connect: connection refused`. */
export function reasonOf(error: unknown): string {
  // Of an address for each family, the last one tried is told, as Go does.
  const last = error instanceof AggregateError ? (error.errors.at(-1) as Error) : (error as Error);
  const { code = "", syscall, address = "", port, hostname } = last as Partial<ConnectError>;
  if (syscall === "connect") {
    const host = address.includes(":") ? `[${address}]` : address;
    return `dial tcp ${host}:${port}: connect: ${connectReasons[code] ?? last.message}`;
  }
  if (syscall === "getaddrinfo")
    return `dial tcp: lookup ${hostname}: ${code === "ENOTFOUND" ? "no such host" : "temporary failure in name resolution"}`;
  if (/wrong version number|packet length too long/.test(last.message))
    return "http: server gave HTTP response to HTTPS client";
  return last.message || code;
}
interface ConnectError {
  readonly code: string;
  readonly syscall: string;
  readonly address: string;
  readonly port: number;
  readonly hostname: string;
}
