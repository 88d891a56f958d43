import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../engine/parts.ts";
import type { OnProgress, ProcessStreams } from "../runtime/runtime.ts";

/** One request, as a handler sees it. */
export interface Call {
  readonly engine: Engine;
  readonly log: Log;
  /** Minor number of the API version that the client speaks: 44 for 1.44. */
  readonly version: number;
  /** What the route's placeholders matched, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal;
}

/** A talk with a process: its streams one way and the other until it ends or the client leaves. */
export interface Talk {
  readonly streams: ProcessStreams;
  /** Raw bytes instead of frames, and detach keys count. */
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** The process's standard input ends with the client's. */
  readonly closeStdin: boolean;
  /** Bytes of the sequence that leaves the process alone. */
  readonly detachKeys: Uint8Array;
  /** What is sent first: log lines, or why the process did not start. */
  readonly before?: AsyncIterable<Uint8Array>;
}

/** What a handler answers; `send.ts` puts it on the wire. */
export type Reply =
  | { readonly kind: "json"; readonly status: number; readonly value: unknown }
  | { readonly kind: "plain"; readonly status: number; readonly text: string; readonly headers: OutgoingHttpHeaders }
  /** Status and headers go out at once, the chunks as they come. */
  | {
      readonly kind: "stream";
      readonly type: string;
      readonly headers?: OutgoingHttpHeaders;
      readonly chunks: AsyncIterable<string | Uint8Array>;
    }
  /** JSON lines; what goes wrong before the first line is an ordinary error. */
  | { readonly kind: "progress"; readonly run: (tell: OnProgress) => Promise<void> }
  | { readonly kind: "talk"; readonly type: string; readonly talk: Talk };

export type Handler = (call: Call) => Reply | Promise<Reply>;

export const json = (value: unknown, status = 200): Reply => ({ kind: "json", status, value });
export const plain = (text: string, headers: OutgoingHttpHeaders = {}, status = 200): Reply => ({
  kind: "plain",
  status,
  text,
  headers,
});
/** An answer without a body: 204, 200 or 304. */
export const empty = (status = 204): Reply => plain("", {}, status);
export const stream = (
  type: string,
  chunks: AsyncIterable<string | Uint8Array>,
  headers: OutgoingHttpHeaders = {},
): Reply => ({ kind: "stream", type, chunks, headers });
export const progress = (run: (tell: OnProgress) => Promise<void>): Reply => ({ kind: "progress", run });

/** The media type of a process's output: framed or raw (since API 1.42 the type tells them apart). */
export const outputType = (tty: boolean, version: number) =>
  `application/vnd.docker.${tty || version < 42 ? "raw" : "multiplexed"}-stream`;
