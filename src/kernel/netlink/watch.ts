import type { Socket } from "node:net";
import { KernelError } from "../kernel.ts";
import { calls, check } from "../libc.ts";
import { wrapSocket } from "../wrap-socket.ts";
import { u32 } from "./attributes.ts";

const afNetlink = 16;
const rawNonBlocking = 3 | 0o2004000; // SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
const solNetlink = 270;
const addMembership = 1; // NETLINK_ADD_MEMBERSHIP
const solSocket = 1;
const receiveBuffer = 33; // SO_RCVBUFFORCE
const bufferBytes = 8 << 20;
const bodyOfAny = Buffer.from([afNetlink, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // struct sockaddr_nl

/** What a watch needs of its maker. */
export interface WatchParts {
  /** Does something in the namespace that is watched. @throws {KernelError} ENOENT when that is gone: so ends the watch */
  readonly inside: <R>(body: () => R) => R;
  readonly onBytes: (bytes: Buffer) => void;
  /** The kernel had to drop messages; the watch goes on after it. */
  readonly onLost: () => void;
}

/**
 * Reads multicast groups in Node's own loop, without a thread.
 * @param protocol NETLINK_ROUTE (0) or NETLINK_NETFILTER (12) @returns a function that ends it
 */
export function watch(
  protocol: number,
  groups: readonly number[],
  { inside, onBytes, onLost }: WatchParts,
): () => void {
  let ended = false;
  let socket: Socket;
  function start(): void {
    socket = wrapSocket(inside(() => open(protocol, groups)));
    socket.on("data", onBytes);
    socket.on("error", () => {
      // ENOBUFS: messages were dropped. Whatever else it is, a new socket and a full reading are the cure.
      if (ended) return;
      try {
        start();
      } catch (error) {
        if (!(error instanceof KernelError) || error.code !== "ENOENT") throw error;
      }
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
