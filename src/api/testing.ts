import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, SwarmStanding } from "../engine/engine.ts";
import type { ProcessStreams } from "../runtime/runtime.ts";
import { createApiServer } from "./server.ts";

/** A node's place outside of a swarm. */
export const outside: SwarmStanding = {
  state: "inactive",
  nodeId: "",
  nodeAddress: "",
  controlAvailable: false,
  error: "",
  managers: [],
};

/** The verbs that a test needs, and where no swarm is played, one that it is outside of; calling another fails the test. */
export type SomeEngine = { readonly [Part in keyof Engine]?: Partial<Engine[Part]> };

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // any: tests look at what they expect
  readonly json: any;
}
export interface Ask {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A server in this process, with a socket file of its own. */
export interface TestServer extends AsyncDisposable {
  readonly path: string;
  ask(method: string, path: string, options?: Ask): Promise<Answer>;
  /** A raw connection, for what is no plain request. */
  connect(): Socket;
  /** Texts that the server logged as errors. */
  readonly errors: string[];
}

export async function serve(engine: SomeEngine): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "tombolo-api-"));
  const path = join(directory, "api.sock");
  const errors: string[] = [];
  const quiet = () => {};
  const error = (fields: object) => errors.push(String((fields as { err?: unknown }).err));
  const server = createApiServer({
    engine: { swarm: { standing: () => outside }, ...engine } as Engine,
    log: { debug: quiet, info: quiet, warn: quiet, error },
  });
  await server.listen({ path });
  return {
    path,
    errors,
    ask: (method, target, options = {}) => ask(path, method, target, options),
    connect: () => connect({ path, allowHalfOpen: true }),
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(directory, { recursive: true });
    },
  };
}

function ask(socketPath: string, method: string, path: string, { body, headers = {} }: Ask): Promise<Answer> {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const type = text === undefined ? {} : { "Content-Type": "application/json" };
  const chunked = text === undefined || "Transfer-Encoding" in headers;
  const length = chunked ? {} : { "Content-Length": String(Buffer.byteLength(text)) };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers: { ...type, ...length, ...headers } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parsed(text) });
      });
    });
    sent.on("error", reject);
    sent.end(text);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Streams of a process that a test plays. */
export function playedProcess(): ProcessStreams & {
  say(stream: "stdout" | "stderr", text: string): void;
  readonly heard: string[];
  readonly closed: boolean;
  readonly stdinClosed: boolean;
  /** Resolves once the process was told something, or its input ended. */
  told(): Promise<void>;
} {
  const queue: { stream: "stdout" | "stderr"; data: Uint8Array }[] = [];
  const heard: string[] = [];
  const state = { closed: false, stdinClosed: false };
  let wake = () => {};
  let tell = () => {};
  const output = {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) yield chunk;
        if (state.closed) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
  return {
    output,
    heard,
    get closed() {
      return state.closed;
    },
    get stdinClosed() {
      return state.stdinClosed;
    },
    say(stream, text) {
      queue.push({ stream, data: Buffer.from(text) });
      wake();
    },
    told: () =>
      new Promise((resolve) => {
        tell = resolve;
      }),
    async write(data) {
      heard.push(Buffer.from(data).toString());
      tell();
    },
    closeStdin() {
      state.stdinClosed = true;
      tell();
    },
    close() {
      state.closed = true;
      wake();
      tell();
    },
  };
}
