import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { createInterface } from "node:readline";

/** One connection, or one socket that sends datagrams to one place. */
export interface FlowWish {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly source?: string;
  readonly sourcePort?: number;
  /** Milliseconds after which no answer is silence; ten seconds when absent. */
  readonly patience?: number;
}
const atLeast = 300_000; // bytes of an answer that is much: all zero

/** Sends what it is told, line by line, and prints what comes back each time; `silence` when nothing does. */
async function main({ protocol, address, port, source, sourcePort, patience = 10_000 }: FlowWish): Promise<void> {
  let heard = (_: string) => {};
  const ready = Promise.withResolvers<void>();
  const send = protocol === "tcp" ? overTcp() : overUdp();

  function overTcp(): (text: string) => void {
    const local = {
      ...(source !== undefined && { localAddress: source }),
      ...(sourcePort !== undefined && { localPort: sourcePort }),
    };
    const socket = connect({ host: address, port, ...local });
    let bytes = 0;
    socket.on("data", (data) => {
      if (data.length + bytes < atLeast)
        return data[0] === 0 ? void (bytes += data.length) : heard(data.toString().trim());
      heard(`${data.length + bytes} bytes`);
      bytes = 0;
    });
    let end: string | undefined;
    const over = (why: string) => heard((end ??= why));
    socket.on("error", (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
    socket.on("end", () => over("end"));
    // Who writes to a connection that has ended hears of it no more.
    return (text) => (end === undefined ? void socket.write(text) : heard(end));
  }
  function overUdp(): (text: string) => void {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (data) => heard(data.toString().trim()));
    socket.on("error", (error: NodeJS.ErrnoException) => heard(error.code ?? error.message));
    socket.bind({ ...(source !== undefined && { address: source }) }, () =>
      socket.connect(port, address, ready.resolve),
    );
    return (text) => socket.send(text);
  }
  const answer = (begin: () => void, within = patience) =>
    new Promise<string>((resolve) => {
      const timer = setTimeout(() => resolve("silence"), within);
      heard = (text) => {
        clearTimeout(timer);
        resolve(text);
      };
      begin();
    });

  // A server says who it is when a connection is there.
  if (protocol === "tcp") console.log(await answer(() => {}, 5 * patience));
  else await ready.promise;
  for await (const line of createInterface({ input: process.stdin })) console.log(await answer(() => send(line)));
  process.exit();
}

await main(JSON.parse(process.argv[2] ?? "") as FlowWish);
