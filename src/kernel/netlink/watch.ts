import { Socket, type SocketConstructorOpts } from "node:net";
import { calls, check } from "../libc.ts";
import { u32 } from "./attributes.ts";

const afNetlink = 16;
const rawNonBlocking = 3 | 0o2004000; // SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
const unixStream = [1, 1 | 0o2000000] as const;
const solNetlink = 270;
const addMembership = 1; // NETLINK_ADD_MEMBERSHIP
const solSocket = 1;
const receiveBuffer = 33; // SO_RCVBUFFORCE
const bufferBytes = 8 << 20;
const bodyOfAny = Buffer.from([afNetlink, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // struct sockaddr_nl

/**
 * Reads multicast groups in Node's own loop, without a thread: the netlink socket takes the place of one end of a
 * socket pair that Node has wrapped. `onLost` comes when the kernel had to drop messages; the watch goes on after it.
 * @param protocol NETLINK_ROUTE (0) or NETLINK_NETFILTER (12) @returns a function that ends it
 */
export function watch(
  protocol: number,
  groups: readonly number[],
  onBytes: (bytes: Buffer) => void,
  onLost: () => void,
): () => void {
  let ended = false;
  let socket: Socket;
  function start(): void {
    socket = wrap(open(protocol, groups));
    socket.on("data", onBytes);
    socket.on("error", () => {
      // ENOBUFS: messages were dropped. Whatever else it is, a new socket and a full reading are the cure.
      if (ended) return;
      start();
      onLost();
    });
    socket.resume();
  }
  start();
  return () => {
    ended = true;
    socket.destroy();
  };
}

function open(protocol: number, groups: readonly number[]): number {
  const fd = check("netlink socket", calls.socket(afNetlink, rawNonBlocking, protocol));
  try {
    check("netlink bind", calls.bind(fd, bodyOfAny, bodyOfAny.length));
    calls.setsockopt(fd, solSocket, receiveBuffer, u32(bufferBytes), 4);
    for (const group of groups)
      check(`netlink group ${group}`, calls.setsockopt(fd, solNetlink, addMembership, u32(group), 4));
    return fd;
  } catch (error) {
    calls.close(fd);
    throw error;
  }
}

/** The fd must change hands before the first read registers it with epoll. */
function wrap(fd: number): Socket {
  const pair = Buffer.alloc(8);
  check("socketpair", calls.socketpair(unixStream[0], unixStream[1], 0, pair));
  const own = pair.readInt32LE(0);
  const options: SocketConstructorOpts & { manualStart: boolean } = {
    fd: own,
    readable: true,
    writable: false,
    manualStart: true,
  };
  const socket = new Socket(options);
  check("dup2", calls.dup2(fd, own));
  calls.close(fd);
  calls.close(pair.readInt32LE(4));
  return socket;
}
