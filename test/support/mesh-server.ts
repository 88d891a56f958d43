import { createSocket } from "node:dgram";
import { createServer, type LookupFunction } from "node:net";

const much = 300_000; // bytes that a server sends when it is asked for much

/** Answers connections and datagrams to a port, in the namespace in which it is called, with a name and the address of who asks. */
export function serve(name: string, port: number): void {
  const answer = (address = "") => `${name} ${address.replace(/^::ffff:/, "")}\n`;
  createServer((socket) => {
    socket.on("error", () => {});
    socket.write(answer(socket.remoteAddress));
    socket.on("data", (data) => socket.write(data.toString().startsWith("much") ? Buffer.alloc(much) : data));
  }).listen(port);
  for (const type of ["udp4", "udp6"] as const) {
    // Without a wait: in the next turn this thread is elsewhere.
    const lookup: LookupFunction = (address, _, done) => done(null, address, type === "udp4" ? 4 : 6);
    const socket = createSocket({ type, ipv6Only: type === "udp6", lookup: lookup as never });
    socket.on("message", (_, from) => socket.send(answer(from.address), from.port, from.address));
    socket.bind(port);
  }
}

if (import.meta.main) {
  const [name = "", ...ports] = process.argv.slice(2);
  for (const port of ports) serve(`${name}:${port}`, Number(port));
  console.log("ready");
}
