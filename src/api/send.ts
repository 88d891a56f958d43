import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Log } from "../engine/parts.ts";
import type { OnProgress } from "../runtime/runtime.ts";
import type { Reply } from "./call.ts";
import { messageOf, statusOf } from "./errors.ts";
import { converse, write } from "./streams.ts";

/** Puts a reply on the wire. `raw` is the connection of a client that asked to upgrade it. */
export async function send(
  reply: Reply,
  response: ServerResponse,
  raw: Socket | undefined,
  signal: AbortSignal,
): Promise<void> {
  switch (reply.kind) {
    case "json":
      sendText(response, reply.status, { "Content-Type": "application/json" }, `${JSON.stringify(reply.value)}\n`);
      return;
    case "plain":
      sendText(response, reply.status, reply.headers, reply.text);
      return;
    case "stream":
      response.writeHead(200, { "Content-Type": reply.type, ...reply.headers });
      response.flushHeaders();
      return pump(reply.chunks, response);
    case "progress":
      return sendProgress(reply.run, response);
    case "talk":
      return sendTalk(reply, response, raw, signal);
  }
}

/** `{"message":…}`: clients show the text only when the type is exactly `application/json`. */
export function sendError(error: unknown, response: ServerResponse, log: Log): void {
  const status = statusOf(error);
  if (status === 500) log.error({ err: error }, "a request failed"); // the others are the client's to mend
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (status === 413) response.setHeader("Connection", "close");
  const text = status === 304 ? "" : `${JSON.stringify({ message: messageOf(error) })}\n`;
  sendText(response, status, status === 304 ? {} : { "Content-Type": "application/json" }, text);
}

function sendText(response: ServerResponse, status: number, headers: object, text: string): void {
  const bodyless = status === 204 || status === 304;
  const length = bodyless ? {} : { "Content-Length": Buffer.byteLength(text) };
  response.writeHead(status, { ...headers, ...length });
  response.end(bodyless ? undefined : text);
}

async function pump(chunks: AsyncIterable<string | Uint8Array>, response: ServerResponse): Promise<void> {
  for await (const chunk of chunks) {
    if (response.destroyed) return;
    await write(response, chunk);
  }
  response.end();
}

async function sendProgress(run: (tell: OnProgress) => Promise<void>, response: ServerResponse): Promise<void> {
  const begin = () => {
    if (!response.headersSent) response.writeHead(200, { "Content-Type": "application/json" });
  };
  const line = (value: object) => {
    begin();
    // A slow reader misses some steps of a bar, never a line that stands for itself.
    const isStep = "progressDetail" in value && Object.keys(value.progressDetail as object).length > 0;
    if (!response.destroyed && !(isStep && response.writableNeedDrain)) response.write(`${JSON.stringify(value)}\r\n`);
  };
  try {
    await run(line);
    begin();
  } catch (error) {
    if (!response.headersSent) throw error;
    line({ errorDetail: { message: messageOf(error) }, error: messageOf(error) });
  }
  response.end();
}

async function sendTalk(
  { type, talk }: Extract<Reply, { kind: "talk" }>,
  response: ServerResponse,
  raw: Socket | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (raw === undefined) {
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, { "Content-Type": type });
    response.flushHeaders();
    return converse(talk, response.req, response, signal);
  }
  const headers = Object.entries(response.getHeaders()).map(([name, value]) => `${name}: ${String(value)}\r\n`);
  response.detachSocket(raw);
  raw.write(
    `HTTP/1.1 101 UPGRADED\r\n${headers.join("")}Content-Type: ${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
  return converse(talk, raw, raw, signal);
}
