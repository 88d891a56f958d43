import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type ClientHttp2Session, connect, constants, type SecureClientSessionOptions } from "node:http2";
import { unavailable } from "../../lib/errors.ts";
import { managerName } from "../identity/names.ts";

/** A connection to one manager. */
export interface Link {
  readonly address: string;
  readonly transport: Transport;
  readonly isUp: () => boolean;
  /** Breaks it off, with all calls on it. */
  readonly close: () => void;
}

/**
 * How long it may take until somebody accepts, and until TLS is done with that one; how often a connection is asked whether
 * it lives, and for how long: milliseconds.
 */
const patience = { connect: 1500, handshake: 10_000, ping: 1000, pong: 1000 } as const;
const largest = 64 << 20; // bytes of one message
/** Of flow control, for a stream and a connection: a snapshot should not wait for a round trip each 64 KiB. */
const window = 1 << 20;

/**
 * Connects to a manager's control port. A connection that does not answer for 2 s is broken off.
 * @param address `host:port` or `[v6]:port` @param tls whom to trust and, for who has one, the own certificate
 * @throws {EngineError} unavailable when nobody answers there, or not who is asked for
 */
export async function dial(address: string, tls: SecureClientSessionOptions, signal: AbortSignal): Promise<Link> {
  signal.throwIfAborted();
  const url = `https://${address}`;
  const settings = { enablePush: false, initialWindowSize: window };
  // Node takes no address for the name to ask for, and the certificate has none either: it says "a manager".
  const session = connect(url, { servername: managerName, minVersion: "TLSv1.3", settings, ...tls });
  // Calls are told of what breaks them; without a listener the process would end.
  session.on("error", () => {});
  try {
    await connected(session, signal);
  } catch (error) {
    session.destroy();
    signal.throwIfAborted();
    throw unavailable(`${address}: ${(error as Error).message}`);
  }
  session.setLocalWindowSize(window);
  keepAlive(session);
  const isUp = () => !session.closed && !session.destroyed;
  const manager = {
    authority: url,
    // The library's own manager pings sessions that are gone (2.2.0), which ends the process.
    request: (method: string, path: string, headers: object, options: object) => {
      if (!isUp()) return Promise.reject(new ConnectError(`the connection to ${address} is lost`, Code.Unavailable));
      return Promise.resolve(session.request({ ...headers, ":method": method, ":path": path }, options));
    },
    notifyResponseByteRead() {},
  };
  const transport = createGrpcTransport({ baseUrl: url, sessionManager: manager, readMaxBytes: largest });
  return { address, transport, isUp, close: () => session.destroy(undefined, constants.NGHTTP2_CANCEL) };
}

async function connected(session: ClientHttp2Session, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = () => reject(new Error("no answer"));
  let timer = setTimeout(late, patience.connect);
  // Who accepts is there. When many come at a time each has its turn; to begin anew would make the others wait for nothing.
  session.socket.once("connect", () => {
    clearTimeout(timer);
    timer = setTimeout(late, patience.handshake);
  });
  const abort = () => reject(new Error("called off"));
  signal.addEventListener("abort", abort);
  session.once("connect", () => resolve()).once("error", reject);
  session.once("close", () => reject(new Error("the connection was closed")));
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** TCP alone notices a host that lost its power, or a wire that was cut, only after minutes. */
function keepAlive(session: ClientHttp2Session): void {
  let asked: NodeJS.Timeout | undefined;
  const lost = () => {
    if (asked !== undefined) session.destroy(new ConnectError("the manager does not answer", Code.Unavailable));
  };
  // Before that, what came is read: it may have been this process that stood still.
  const late = () => setImmediate(lost);
  const every = setInterval(() => {
    if (session.destroyed || asked !== undefined) return;
    asked = setTimeout(late, patience.pong).unref();
    session.ping(() => {
      clearTimeout(asked);
      asked = undefined;
    });
  }, patience.ping).unref();
  session.once("close", () => {
    clearInterval(every);
    clearTimeout(asked);
  });
}
