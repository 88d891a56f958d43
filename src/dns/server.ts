import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Kernel } from "../kernel/kernel.ts";
import type { NamespaceName } from "../model/plan.ts";
import { frame, frameReader } from "./forward.ts";
import { fitUdp, type Query, readQuery } from "./wire.ts";

export type Answer = (query: Query, transport: "udp" | "tcp", signal: AbortSignal) => Promise<Buffer>;
const address = "127.0.0.11";
const idle = 10_000; // milliseconds until a silent TCP client is let go
const mostClients = 64; // TCP clients of one sandbox at a time

/**
 * Answers at 127.0.0.11 port 53 inside one namespace, over UDP and TCP. The sockets have ports of their own, and rules in
 * the namespace lead port 53 to them, so that a container can still have a name server of its own on all addresses.
 */
export class SandboxServer {
  readonly #end = new AbortController();
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #clients = new Set<Socket>();
  readonly #answer: Answer;

  private constructor(answer: Answer) {
    this.#answer = answer;
    this.#udp = createSocket("udp4");
    this.#tcp = createServer((client) => this.#serve(client));
    this.#tcp.maxConnections = mostClients;
  }

  static async open(kernel: Kernel, namespace: NamespaceName, answer: Answer): Promise<SandboxServer> {
    const server = new SandboxServer(answer);
    const udp = kernel.socket(namespace, { protocol: "udp", address });
    const tcp = kernel.socket(namespace, { protocol: "tcp", address, listen: true });
    await new Promise<void>((resolve) => server.#udp.bind({ fd: udp }, resolve));
    await new Promise<void>((resolve) => server.#tcp.listen({ fd: tcp }, resolve));
    server.#udp.on("message", (bytes, from) => void server.#datagram(bytes, from.port, from.address));
    server.#udp.on("error", () => {}); // an answer to a client that is gone
    const ports = { udp: server.#udp.address().port, tcp: (server.#tcp.address() as AddressInfo).port };
    try {
      kernel.nft(namespace, redirect(ports));
    } catch (error) {
      server.close();
      throw error;
    }
    return server;
  }

  async #datagram(bytes: Buffer, port: number, from: string): Promise<void> {
    const query = readQuery(bytes);
    if (query === undefined) return;
    const answer = "answer" in query ? query.answer : await this.#answer(query, "udp", this.#end.signal);
    if (this.#end.signal.aborted) return;
    this.#udp.send("answer" in query ? answer : fitUdp(query, answer), port, from);
  }

  #serve(client: Socket): void {
    this.#clients.add(client);
    client.on("close", () => this.#clients.delete(client));
    client.on("error", () => client.destroy());
    client.setTimeout(idle, () => client.destroy());
    client.on(
      "data",
      frameReader((bytes) => void this.#message(client, Buffer.from(bytes))),
    );
  }

  async #message(client: Socket, bytes: Buffer): Promise<void> {
    const query = readQuery(bytes);
    if (query === undefined) return void client.destroy();
    const answer = "answer" in query ? query.answer : await this.#answer(query, "tcp", this.#end.signal);
    if (!client.destroyed) client.write(frame(answer));
  }

  close(): void {
    this.#end.abort();
    this.#udp.close();
    this.#tcp.close();
    for (const client of this.#clients) client.destroy();
  }
}

/** A table of the sandbox's own namespace; it goes with the namespace. */
function redirect({ udp, tcp }: { readonly udp: number; readonly tcp: number }): string {
  return `table ip tombolo_dns {}
delete table ip tombolo_dns
table ip tombolo_dns {
  chain output {
    type nat hook output priority -100;
    ip daddr ${address} udp dport 53 dnat to ${address}:${udp}
    ip daddr ${address} tcp dport 53 dnat to ${address}:${tcp}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr ${address} udp sport ${udp} snat to ${address}:53
    ip saddr ${address} tcp sport ${tcp} snat to ${address}:53
  }
}
`;
}
