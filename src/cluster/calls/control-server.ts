import {
  type ConnectRouter,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from "@connectrpc/connect-node";
import { constants } from "node:crypto";
import { once } from "node:events";
import { createSecureServer, type Http2SecureServer, type Http2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { unavailable } from "../../lib/errors.ts";
import type { NodeId, NodeRole } from "../../model/cluster.ts";
import { explain, toWire } from "./call-errors.ts";
import { check } from "../identity/calls.ts";
import type { Identity } from "../identity/names.ts";
import { Peers } from "../identity/peer.ts";
import { texts } from "../texts.ts";

/** By what a host shows who it is and tells who others are; PEM. */
export interface Credentials {
  readonly key: string;
  /** With the cross certificate while the root is rotated. */
  readonly certificate: string;
  /** The roots to trust. */
  readonly roots: string;
}

/** Who makes a call: the certificate's identity with the role of the row, and the address it comes from. */
export interface CallerFacts {
  readonly identity: Identity | undefined;
  readonly address: string;
}

export interface ControlServerParts {
  /** The calls. Those that have no service here, or are not in the table of identity/calls.ts, are denied. */
  routes(router: ConnectRouter): void;
  /** @returns the role in the node's row; undefined for who is no node (any more): such a one may do nothing */
  standing(node: NodeId): NodeRole | undefined;
  /** False while rows may have changed that this manager has not seen: a node that it does not know may be one. */
  isCurrent?(): boolean;
  /** Told of errors whose text did not go over the wire. */
  failed(error: unknown, call: string): void;
  /** Told of calls that were denied, and by whom they were made. */
  denied?(call: string, caller: CallerFacts): void;
  /** @returns milliseconds since 1970 */
  now?(): number;
}

const patience = { handshake: 10_000, stranger: 30_000, look: 1000, goodbye: 200 } as const; // milliseconds
const mostStrangers = 512;
const largest = 4 << 20; // bytes of one message

type Request = Parameters<NonNullable<ConnectNodeAdapterOptions["contextValues"]>>[0];
const facts = createContextKey<CallerFacts>({ identity: undefined, address: "" });
/** Who makes the call at hand. */
export const callerOf = (context: Pick<HandlerContext, "values">): CallerFacts => context.values.get(facts);
/** Says who makes a call: for calls that come another way than over this port. */
export const asCaller = (values: ContextValues, caller: CallerFacts): ContextValues => values.set(facts, caller);

interface Known {
  readonly opened: number;
  /** Who it was when it came. */
  identity: Identity | undefined;
}

/**
 * The port between hosts: TLS 1.3, client certificate optional, every call denied that the table does not allow. Streams of
 * who is a node no more, or whose certificate has expired or lost its root, are cut within seconds.
 */
export class ControlServer {
  readonly #parts: ControlServerParts;
  readonly #server: Http2SecureServer;
  readonly #sessions = new Map<Http2Session, Known>();
  /** A session that is being closed waits for its peer, who may be out of reach: what ends is the socket. */
  readonly #sockets = new Set<Socket>();
  readonly #clusterId: string;
  readonly #now: () => number;
  #peers: Peers;
  #looking: NodeJS.Timeout | undefined;

  constructor(credentials: Credentials, clusterId: string, parts: ControlServerParts) {
    this.#parts = parts;
    this.#clusterId = clusterId;
    this.#now = () => parts.now?.() ?? Date.now();
    this.#peers = new Peers(credentials.roots, clusterId);
    const handler = connectNodeAdapter({
      routes: (router) => parts.routes(router),
      contextValues: (request) => asCaller(createContextValues(), this.#callerOf(request)),
      requestGate: (context) => this.#gate(context),
      interceptors: [explain((error, call) => parts.failed(error, call))],
      connect: false, // one protocol is enough: less to answer to
      grpcWeb: false,
      readMaxBytes: largest,
      acceptCompression: [], // a small message could become a large one before it is known who sends it
    });
    const options = {
      requestCert: true,
      rejectUnauthorized: false, // hosts that join have none: the gate denies them the rest
      handshakeTimeout: patience.handshake,
      settings: { maxConcurrentStreams: 100 },
    } as const;
    this.#server = createSecureServer({ ...options, ...tlsOf(credentials) }, handler);
    this.#server.on("session", (session) => this.#meet(session));
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("sessionError", () => {}); // a broken connection ends itself
  }

  /** @returns where it listens @throws what listen(2) says, EADDRINUSE for one */
  async listen(host: string, port: number): Promise<AddressInfo> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    this.#looking = setInterval(() => this.look(), patience.look).unref();
    return this.#server.address() as AddressInfo;
  }

  /** From now on connections get this certificate, and all callers are measured by these roots; open ones that fit go on. */
  exchange(credentials: Credentials): void {
    this.#peers = new Peers(credentials.roots, this.#clusterId);
    this.#server.setSecureContext(tlsOf(credentials));
    this.look();
  }

  /** Cuts the connections of who may be connected no more. It is done every second; a caller that knows more does it at once. */
  look(): void {
    const now = this.#now();
    for (const [session, known] of this.#sessions) {
      const identity = this.#read(session);
      const lost = known.identity !== undefined && identity === undefined;
      const removed = identity !== undefined && this.#parts.standing(identity.nodeId) === undefined;
      const idle = identity === undefined && now - known.opened > patience.stranger;
      if (lost || removed || idle) session.destroy();
    }
  }

  /** Ends the port and all connections. */
  async close(): Promise<void> {
    clearInterval(this.#looking);
    const closed = this.#server.listening ? once(this.#server, "close") : undefined;
    this.#server.close();
    for (const session of this.#sessions.keys()) session.destroy();
    const late = setTimeout(() => this.#sockets.forEach((socket) => socket.destroy()), patience.goodbye);
    await closed;
    clearTimeout(late);
  }

  #meet(session: Http2Session): void {
    const identity = this.#read(session);
    const strangers = () => this.#sessions.values().filter((s) => s.identity === undefined);
    if (identity === undefined && strangers().toArray().length >= mostStrangers) session.destroy();
    this.#sessions.set(session, { opened: this.#now(), identity });
    session.once("close", () => this.#sessions.delete(session));
  }

  #read(session: Http2Session): Identity | undefined {
    return session.destroyed ? undefined : this.#peers.read(session.socket as TLSSocket, this.#now());
  }

  #callerOf(request: Request): CallerFacts {
    const session = "stream" in request ? request.stream.session : undefined;
    if (session === undefined || session.destroyed) return { identity: undefined, address: "" };
    const identity = this.#read(session);
    const known = this.#sessions.get(session);
    if (known !== undefined) known.identity ??= identity;
    const address = session.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "";
    if (identity === undefined) return { identity, address };
    // A manager that was demoted has a manager's certificate until it renews it: the row says what it may.
    const role = this.#parts.standing(identity.nodeId) === "manager" ? identity.role : "worker";
    return { identity: { ...identity, role }, address };
  }

  /** Before anything of the message is read. */
  #gate(context: HandlerContext): void {
    const removed = (node: NodeId) => {
      if (this.#parts.standing(node) !== undefined) return false;
      if (this.#parts.isCurrent?.() === false) throw unavailable(texts.noLeader);
      return true;
    };
    try {
      check(context.method.localName, callerOf(context).identity, removed);
    } catch (error) {
      this.#parts.denied?.(context.method.localName, callerOf(context));
      throw toWire(error);
    }
  }
}

const tlsOf = ({ key, certificate, roots }: Credentials) => ({
  key,
  cert: certificate,
  ca: roots,
  minVersion: "TLSv1.3" as const,
  // A ticket would carry what was thought of a certificate past its expiry.
  secureOptions: constants.SSL_OP_NO_TICKET,
});
