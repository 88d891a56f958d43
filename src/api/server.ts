import { chown, unlink } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../engine/parts.ts";
import { conflict, notFound } from "../lib/errors.ts";
import type { Call } from "./call.ts";
import { createRouter } from "./router.ts";
import { routes } from "./routes.ts";
import { send, sendError } from "./send.ts";
import { checkVersion, newest, splitVersion } from "./versions.ts";

/** Where to listen. `mode` of a socket's file is 0o660 unless told otherwise. */
export type ListenTarget =
  | { readonly path: string; readonly mode?: number; readonly gid?: number }
  | {
      readonly host: string;
      readonly port: number;
      /** PEM texts. Clients must show a certificate of `ca`. */
      readonly tls?: { readonly key: string; readonly cert: string; readonly ca: string };
    };

export interface ApiServer {
  /** May be called more than once. @throws {EngineError} conflict when another daemon listens there */
  listen(target: ListenTarget): Promise<void>;
  /** Ends what streams, waits a moment for what is under way, then closes every connection. */
  close(): Promise<void>;
}

const patience = 3000; // milliseconds for calls that are under way at close
const standing = {
  "Api-Version": `1.${newest}`,
  "Docker-Experimental": "false",
  Ostype: "linux",
  Server: "Tombolo (linux)",
};
const match = createRouter(routes);

/** The Docker Engine API over an engine (Docker's documentation, Engine API v1.50). */
export function createApiServer({ engine, log }: { readonly engine: Engine; readonly log: Log }): ApiServer {
  const servers: Server[] = [];
  const connections = new Set<Duplex>();
  const closing = new AbortController();

  async function answer(request: IncomingMessage, response: ServerResponse, raw?: Socket): Promise<void> {
    for (const [name, value] of Object.entries(standing)) response.setHeader(name, value);
    const gone = new AbortController();
    const leave = () => gone.abort();
    (raw ?? response).on("close", leave);
    try {
      const [whole = "/", queryText = ""] = (request.url ?? "/").split(/\?(.*)/s, 2);
      const { major, minor, path } = splitVersion(whole);
      const found = match(request.method ?? "", path);
      if (found === undefined) throw notFound("page not found");
      checkVersion(major, minor);
      const signal = AbortSignal.any([gone.signal, closing.signal]);
      const query = new URLSearchParams(queryText);
      const call: Call = { engine, log, version: minor, params: found.params, query, request, signal };
      await send(await found.route.handler(call), response, raw, signal);
    } catch (error) {
      if (!gone.signal.aborted) sendError(error, response, log);
    }
  }

  function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    if (head.length > 0) socket.unshift(head);
    socket.on("error", () => socket.destroy());
    const response = new ServerResponse(request);
    response.assignSocket(socket);
    response.on("finish", () => socket.end());
    void answer(request, response, socket);
  }

  function open(target: ListenTarget): Server {
    const options = {
      requestTimeout: 0, // an image may take long to arrive
      keepAliveTimeout: 0,
      maxHeaderSize: 1 << 16,
      shouldUpgradeCallback: (request: IncomingMessage) => isUpgrade(request),
    };
    const tls = "tls" in target && target.tls && { ...target.tls, requestCert: true, rejectUnauthorized: true };
    const listener = (request: IncomingMessage, response: ServerResponse) => void answer(request, response);
    const server = tls ? createTlsServer({ ...options, ...tls }, listener) : createServer(options, listener);
    server.on("upgrade", upgrade);
    server.on(tls ? "secureConnection" : "connection", (socket: Socket) => {
      connections.add(socket);
      socket.on("close", () => connections.delete(socket));
    });
    return server;
  }

  return {
    async listen(target) {
      if ("path" in target) await removeStale(target.path);
      const server = open(target);
      await bind(server, target);
      servers.push(server);
      if ("path" in target && target.gid !== undefined) await chown(target.path, -1, target.gid);
    },
    async close() {
      const done = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      closing.abort();
      for (const server of servers) server.closeIdleConnections();
      const timer = setTimeout(() => connections.forEach((socket) => socket.destroy()), patience);
      await Promise.all(done);
      clearTimeout(timer);
    },
  };
}

function isUpgrade(request: IncomingMessage): boolean {
  const { path } = splitVersion((request.url ?? "/").split("?", 1)[0] ?? "/");
  try {
    return match(request.method ?? "", path)?.route.upgrade === true;
  } catch {
    return false;
  }
}

/** A socket file that nobody answers at is what a killed daemon left. */
async function removeStale(path: string): Promise<void> {
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", () => resolve(false));
  });
  if (answered) throw conflict(`another daemon listens at ${path}`);
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

function bind(server: Server, target: ListenTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    if (!("path" in target)) {
      server.listen(target.port, target.host);
      return;
    }
    // The file is made inside `listen`; the mask keeps it from being open to others for even a moment.
    const mask = process.umask(0o777 & ~(target.mode ?? 0o660));
    server.listen(target.path);
    process.umask(mask);
  });
}
