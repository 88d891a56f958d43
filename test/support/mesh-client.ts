import { createSocket } from "node:dgram";
import { connect } from "node:net";

/** Asks a server several times, each time as somebody new. */
export interface Asking {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly count: number;
  /** The address to ask from; absent: what Linux chooses. */
  readonly source?: string;
}
const patience = 10_000; // milliseconds for one answer
const atOnce = 20;

/** @returns what was answered; or why nothing was */
const ask = ({ protocol, ...to }: Asking): Promise<string> => (protocol === "tcp" ? askTcp(to) : askUdp(to));

function askTcp({ address, port, source }: Omit<Asking, "protocol">): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, ...(source !== undefined && { localAddress: source }) });
    socket.setTimeout(patience, () => end("silence"));
    const end = (result: string) => {
      socket.destroy();
      resolve(result);
    };
    socket.on("data", (data) => end(data.toString().trim()));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on("close", () => resolve("closed"));
  });
}

function askUdp({ address, port, source }: Omit<Asking, "protocol">): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const timer = setTimeout(() => end("silence"), patience);
    const end = (result: string) => {
      clearTimeout(timer);
      socket.removeAllListeners().on("error", () => {});
      socket.close();
      resolve(result);
    };
    socket.on("message", (data) => end(data.toString().trim()));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.bind({ ...(source !== undefined && { address: source }) }, () =>
      socket.connect(port, address, () => socket.send("hello")),
    );
  });
}

/** @returns how often each answer came */
async function count(asking: Asking): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let left = asking.count;
  const work = async () => {
    while (left-- > 0) {
      const answer = await ask(asking);
      counts[answer] = (counts[answer] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, asking.count) }, work));
  return counts;
}

/** Prints what came of each, one after the other, as JSON. */
const counts: Record<string, number>[] = [];
for (const asking of JSON.parse(process.argv[2] ?? "") as Asking[]) counts.push(await count(asking));
console.log(JSON.stringify(counts));
