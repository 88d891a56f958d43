import type { HostPort } from "../model/network.ts";
import { RouteSocket } from "./netlink/socket.ts";
import { dumpWaiting, readWaiting, type WaitingFamily, type WaitingProtocol } from "./netlink/waiting-sockets.ts";
import type { Namespaces } from "./namespaces.ts";

const families: readonly WaitingFamily[] = [2, 10];
const protocols: readonly WaitingProtocol[] = ["tcp", "udp"];

/** @see Kernel.waitingPorts */
export function waitingPorts(namespaces: Namespaces): HostPort[] {
  const socket = namespaces.inside("host", () => new RouteSocket(4));
  try {
    return families.flatMap((family) =>
      protocols.flatMap((protocol) =>
        socket.dump(dumpWaiting(family, protocol)).map(({ body }) => readWaiting(body, family, protocol)),
      ),
    );
  } finally {
    socket.close();
  }
}
