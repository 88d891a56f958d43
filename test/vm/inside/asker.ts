/** Runs in a client's sandbox: asks one address and port, over TCP and UDP, as the lines of standard input say. A line of answer each. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { next } from "./next.ts";

const [address = "", port = ""] = process.argv.slice(2);
const held: { readonly name: string; readonly socket: Socket }[] = [];
const datagrams = createSocket(address.includes(":") ? "udp6" : "udp4");

const verbs: Readonly<Record<string, (word: string) => Promise<string>>> = {
  /** Begins a connection. @returns who answers, as he says first */
  async open() {
    const socket = connect(Number(port), address);
    const name = await next(socket);
    held.push({ name, socket });
    return name;
  },
  /** Ends the connections to one. */
  async close(name) {
    const his = held.filter((one) => one.name === name);
    for (const one of his) held.splice(held.indexOf(one), 1);
    await Promise.all(
      his.map(async ({ socket }) => {
        socket.resume().end();
        if (!socket.closed) await once(socket, "close");
      }),
    );
    return String(his.length);
  },
  /** Says something on a connection to one. @returns what comes back */
  async say(name) {
    const socket = held.find((one) => one.name === name)?.socket;
    if (socket === undefined) return "none";
    if (socket.readableEnded || socket.closed) return "end";
    socket.write("hello\n");
    return next(socket);
  },
  /** Sends datagrams from one port until one is answered. @returns by whom */
  async datagram() {
    for (let tries = 0; tries < 10; tries += 1) {
      datagrams.send("?", Number(port), address);
      const answer = await Promise.race([once(datagrams, "message"), sleep(500)]);
      if (answer !== undefined) return String(answer[0]);
    }
    return "silence";
  },
};
datagrams.on("error", () => {});
for await (const line of createInterface({ input: process.stdin })) {
  const [verb = "", word = ""] = line.split(" ");
  console.log(await (verbs[verb]?.(word) ?? "what?"));
}
