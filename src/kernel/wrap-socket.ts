import { Socket, type SocketConstructorOpts } from "node:net";
import { calls, check } from "./libc.ts";

const closeOnExec = 0o2000000; // O_CLOEXEC, SOCK_CLOEXEC
const unixStream = [1, 1 | closeOnExec] as const;

/**
 * Reads a socket of whatever family in Node's own loop, without a thread: it takes the place of one end of a socket pair
 * that Node has wrapped. Each datagram is one `data` event. The fd must change hands before the first read registers it
 * with epoll, and belongs to the result from then on.
 */
export function wrapSocket(fd: number): Socket {
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
  // Programs that this one starts must not get it: an open socket keeps its namespace alive.
  check("dup3", calls.dup3(fd, own, closeOnExec));
  calls.close(fd);
  calls.close(pair.readInt32LE(4));
  return socket;
}
