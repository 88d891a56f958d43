import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { isIPv6, Socket } from "node:net";
import type { Kernel } from "../kernel/kernel.ts";
import type { IpAddress } from "../model/ids.ts";
import type { NamespaceName } from "../model/plan.ts";
import { type Query, responseCode } from "./wire.ts";

const patience = 4000; // milliseconds for one server (as long as dockerd waits)
const tries = 3; // servers asked for one query
const port = 53;

type Transport = "udp" | "tcp";
const isLoopback = (server: IpAddress) => server.startsWith("127.") || server === "::1";
const failed = (answer: Buffer) =>
  ([responseCode.serverFailure, responseCode.refused] as number[]).includes((answer[3] ?? 0) & 15);

/**
 * Asks the servers in order, from inside the container's namespace, so that a container without a way out has none here
 * either. A server on the host's loopback is asked from the host.
 * @returns the first answer that is no failure, else the last failure; undefined when nobody answered
 */
export async function forward(
  kernel: Kernel,
  namespace: NamespaceName,
  servers: readonly IpAddress[],
  query: Query,
  transport: Transport,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  let last: Buffer | undefined;
  for (const server of servers.slice(0, tries)) {
    if (signal.aborted) return undefined;
    const answer = await ask(kernel, isLoopback(server) ? "host" : namespace, server, query, transport, signal);
    if (answer === undefined) continue;
    last = answer;
    if (!failed(answer)) break;
  }
  return last;
}

/** One server, a fresh port and a random id each time (RFC 5452). */
async function ask(
  kernel: Kernel,
  namespace: NamespaceName,
  server: IpAddress,
  query: Query,
  transport: Transport,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const id = randomInt(0x10000);
  const bytes = Buffer.from(query.bytes);
  bytes.writeUInt16BE(id, 0);
  try {
    const fd = kernel.socket(namespace, { protocol: transport, address: isIPv6(server) ? "::" : "0.0.0.0" });
    const answer = await (transport === "udp" ? overUdp : overTcp)(fd, server, bytes, signal);
    if (answer === undefined || answer.length < 12 || answer.readUInt16BE(0) !== id) return undefined;
    answer.writeUInt16BE(query.id, 0);
    return answer;
  } catch {
    return undefined; // no route, refused, reset: the next server is asked
  }
}

function overUdp(fd: number, server: IpAddress, bytes: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server) ? "udp6" : "udp4");
    const end = (answer?: Buffer) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.removeAllListeners("message");
      socket.close();
      resolve(answer);
    };
    const abort = () => end();
    const timer = setTimeout(abort, patience);
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", abort);
    socket.on("message", (answer, from) => {
      const asked = from.port === port && from.address === server && answer.readUInt16BE(0) === bytes.readUInt16BE(0);
      if (asked) end(answer);
    });
    socket.bind({ fd }, () => socket.send(bytes, port, server));
  });
}

function overTcp(fd: number, server: IpAddress, bytes: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd, readable: true, writable: true });
    const reader = frameReader((answer) => end(answer));
    const end = (answer?: Buffer) => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      resolve(answer);
    };
    const abort = () => end();
    signal.addEventListener("abort", abort, { once: true });
    socket.setTimeout(patience, abort).once("error", abort).once("close", abort).on("data", reader);
    socket.connect(port, server, () => socket.write(frame(bytes)));
  });
}

/** Over TCP each message has its length before it (RFC 1035 section 4.2.2). */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** @returns what takes bytes as they come and passes on whole messages */
export function frameReader(onMessage: (message: Buffer) => void): (chunk: Buffer) => void {
  let waiting = Buffer.alloc(0);
  return (chunk) => {
    waiting = Buffer.concat([waiting, chunk]);
    while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
      const end = 2 + waiting.readUInt16BE(0);
      onMessage(waiting.subarray(2, end));
      waiting = waiting.subarray(end);
    }
  };
}
