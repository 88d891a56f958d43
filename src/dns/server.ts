import { once } from "node:events";
import { closeSync } from "node:fs";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Kernel } from "../kernel/kernel.ts";
import type { NamespaceName } from "../model/plan.ts";
import type { Transport } from "./exchange.ts";
import { fit, frame, framesOf, type Query, readQuery, responseCode, writeAnswer } from "./wire.ts";

export type Answer = (query: Query, transport: Transport, signal: AbortSignal) => Promise<Buffer>;
export interface SandboxServer {
  close(): void;
}

const address = "127.0.0.11";
const idle = 15_000; // milliseconds until a silent TCP client is let go: more than three silent servers take
const mostClients = 64; // TCP clients of one sandbox at a time

/**
 * Answers at 127.0.0.11 port 53 inside one namespace, over UDP and TCP. The sockets have ports of their own, and rules in
 * the namespace lead port 53 to them, so that a container can still have a name server of its own on all addresses.
 * @throws {KernelError} when the namespace is not there, or cannot have the rules
 */
export async function openServer(
  kernel: Pick<Kernel, "socket" | "nft">,
  namespace: NamespaceName,
  answer: Answer,
): Promise<SandboxServer> {
  const fds = openSockets(kernel, namespace);
  const end = new AbortController();
  const udp = createSocket("udp4");
  const tcp = createServer({ allowHalfOpen: true }, (client) => serveTcp(client, answer, end.signal));
  tcp.maxConnections = mostClients;
  const close = () => {
    end.abort();
    udp.close();
    tcp.close();
  };
  try {
    const listening = [once(udp, "listening"), once(tcp, "listening")];
    udp.bind({ fd: fds.udp });
    tcp.listen({ fd: fds.tcp });
    await Promise.all(listening);
    tcp.on("error", ignore); // no descriptor left for a client: it may try again
    serveUdp(udp, answer, end.signal);
    const ports = { udp: udp.address().port, tcp: (tcp.address() as AddressInfo).port };
    kernel.nft(namespace, redirect(ports));
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

function openSockets(kernel: Pick<Kernel, "socket">, namespace: NamespaceName): { udp: number; tcp: number } {
  const udp = kernel.socket(namespace, { protocol: "udp", address });
  try {
    return { udp, tcp: kernel.socket(namespace, { protocol: "tcp", address, listen: true }) };
  } catch (error) {
    closeSync(udp);
    throw error;
  }
}

/** What goes back for what came; undefined for what deserves no answer. */
async function respond(
  bytes: Buffer,
  transport: Transport,
  answer: Answer,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const query = readQuery(bytes);
  if (query === undefined || "answer" in query) return query?.answer;
  try {
    const whole = await answer(query, transport, signal);
    return fit(query, whole, transport);
  } catch {
    return writeAnswer(query, [], responseCode.serverFailure); // one question must not end the service of all
  }
}

const ignore = () => {};

function serveUdp(udp: UdpSocket, answer: Answer, signal: AbortSignal): void {
  udp.on("error", ignore); // an answer to a client that is gone
  const onMessage = async (bytes: Buffer, port: number, client: string) => {
    const response = await respond(bytes, "udp", answer, signal);
    if (response !== undefined && !signal.aborted) udp.send(response, port, client, ignore);
  };
  udp.on("message", (bytes, from) => {
    if (from.port !== 0) void onMessage(bytes, from.port, from.address); // 0: made by hand, and no place to answer to
  });
}

/** One question after the other, as the client takes the answers: one that never reads cannot fill our memory. */
function serveTcp(client: Socket, answer: Answer, signal: AbortSignal): void {
  const answers = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const bytes of framesOf(chunks)) {
      const response = await respond(bytes, "tcp", answer, signal);
      if (response === undefined) throw new Error("not a question");
      yield frame(response);
    }
  };
  client.on("error", ignore);
  client.setTimeout(idle, () => client.destroy());
  pipeline(client, answers, client, { signal }).catch(() => client.destroy());
}

/**
 * A table of the sandbox's own namespace; it goes with the namespace. Ports are written over packet by packet, both ways:
 * a rule of type nat would have the kernel track each connection of the container.
 */
function redirect({ udp, tcp }: { readonly udp: number; readonly tcp: number }): string {
  return `table ip tombolo_dns {}
delete table ip tombolo_dns
table ip tombolo_dns {
  chain output {
    type filter hook output priority -100;
    ip daddr != ${address} ip saddr != ${address} accept
    ip daddr ${address} udp dport 53 udp dport set ${udp}
    ip daddr ${address} tcp dport 53 tcp dport set ${tcp}
    ip saddr ${address} udp sport ${udp} udp sport set 53
    ip saddr ${address} tcp sport ${tcp} tcp sport set 53
  }
}
`;
}
