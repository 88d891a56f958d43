import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { isIPv6, Socket } from "node:net";
import type { Kernel } from "../kernel/kernel.ts";
import type { IpAddress } from "../model/ids.ts";
import type { NamespaceName } from "../model/plan.ts";
import { answersTo, frame, frameReader } from "./wire.ts";

export type Transport = "udp" | "tcp";
/** A name server, and where it is asked from. */
export interface Target {
  readonly server: IpAddress;
  readonly namespace: NamespaceName;
}
/**
 * Asks one server once, and gives its answer under the id of `query`.
 * @returns undefined when it does not answer in time, cannot be reached, or `signal` ends it
 */
export type Exchange = (
  target: Target,
  query: Buffer,
  transport: Transport,
  signal: AbortSignal,
) => Promise<Buffer | undefined>;

/** Where servers listen, and how many milliseconds one of them has (as many as dockerd gives). */
const usual: Settings = { port: 53, patience: 4000 };
interface Settings {
  readonly port: number;
  readonly patience: number;
}

/** Each question goes out with a port of its own and a random id (RFC 5452 section 9.2). */
export function createExchange(kernel: Pick<Kernel, "socket">, settings: Settings = usual): Exchange {
  return async ({ server, namespace }, query, transport, signal) => {
    if (signal.aborted) return undefined;
    const asked = Buffer.from(query);
    asked.writeUInt16BE(randomInt(0x10000), 0);
    try {
      const fd = kernel.socket(namespace, { protocol: transport, address: isIPv6(server) ? "::" : "0.0.0.0" });
      const answer = await (transport === "udp" ? overUdp : overTcp)(fd, { ...settings, server, asked, signal });
      if (answer !== undefined) query.copy(answer, 0, 0, 2);
      return answer;
    } catch {
      return undefined; // no such family here, no descriptor left: as when nobody answers
    }
  };
}

interface Question extends Settings {
  readonly server: IpAddress;
  readonly asked: Buffer;
  readonly signal: AbortSignal;
}

function overUdp(fd: number, { server, port, patience, asked, signal }: Question): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server) ? "udp6" : "udp4");
    const end = (answer?: Buffer) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.removeAllListeners().on("error", () => {}); // it is over, whatever the kernel still has to say
      socket.close();
      resolve(answer);
    };
    const abort = () => end();
    const timer = setTimeout(abort, patience);
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", abort);
    socket.on("message", (answer) => {
      if (answersTo(asked, answer)) end(answer);
    });
    // Connected: the kernel passes on what comes from this server only, and says when nobody listens there.
    socket.once("connect", () => socket.send(asked));
    socket.bind({ fd }, () => socket.connect(port, server));
  });
}

function overTcp(fd: number, { server, port, patience, asked, signal }: Question): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd, readable: true, writable: true });
    const end = (answer?: Buffer) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.destroy();
      resolve(answer);
    };
    const abort = () => end();
    const timer = setTimeout(abort, patience);
    signal.addEventListener("abort", abort, { once: true });
    socket.on("error", abort).once("close", abort);
    socket.on(
      "data",
      frameReader((answer) => end(answersTo(asked, answer) ? answer : undefined)),
    );
    socket.connect(port, server, () => socket.write(frame(asked)));
  });
}
