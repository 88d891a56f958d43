import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { calls, check, errnoName, lastErrno } from "../../src/kernel/libc.ts";
import { calls as more } from "./libc.ts";

const newNet = 0x40000000; // CLONE_NEWNET
const packet = { family: 17, level: 263, statistics: 6, ignoreOutgoing: 23 } as const; // AF_PACKET, SOL_PACKET, PACKET_…
const everyFrame = 3; // ETH_P_ALL
const buffer = { level: 1, force: 33, bytes: 64 << 20 } as const; // SOL_SOCKET, SO_RCVBUFFORCE
const often = 50; // milliseconds

/** Hears every frame that passes on a link, in order. */
export interface Tap {
  /** Hears all that has passed until now. @throws when the kernel had no room for a frame */
  drain(): void;
  close(): void;
}

/** As `tapOf`, in the namespace in which this thread is. @param isOneWay true: it hears what comes alone, and not what goes */
export function tapHere(link: string, hear: (frame: Buffer) => void, isOneWay = false): Tap {
  const fd = check("socket", calls.socket(packet.family, 3 | 0o2004000, 0)); // SOCK_RAW, SOCK_CLOEXEC, SOCK_NONBLOCK
  const set = (level: number, option: number, value: number) =>
    check("setsockopt", calls.setsockopt(fd, level, option, Buffer.from(Int32Array.of(value).buffer), 4));
  set(buffer.level, buffer.force, buffer.bytes);
  set(packet.level, packet.ignoreOutgoing, Number(isOneWay));
  const address = Buffer.alloc(20); // struct sockaddr_ll
  address.writeUInt16LE(packet.family, 0);
  address.writeUInt16BE(everyFrame, 2);
  address.writeUInt32LE(more.nameToIndex(link) as number, 4);
  assert.notEqual(address.readUInt32LE(4), 0, `there is no ${link}`);
  check("bind", calls.bind(fd, address, address.length));
  const frame = Buffer.alloc(1 << 16);
  function drain(): void {
    for (;;) {
      const length = Number(calls.recv(fd, frame, frame.length, 0));
      if (length >= 0) hear(frame.subarray(0, length));
      else if (errnoName(lastErrno()) === "EWOULDBLOCK") break;
      else assert.equal(errnoName(lastErrno()), "ENETDOWN"); // said once, when the link goes
    }
    const [counts, bytes] = [Buffer.alloc(8), Buffer.alloc(4)]; // struct tpacket_stats
    bytes.writeUInt32LE(counts.length);
    check("getsockopt", more.getsockopt(fd, packet.level, packet.statistics, counts, bytes));
    assert.equal(counts.readUInt32LE(4), 0, "frames that the tap has missed");
  }
  const timer = setInterval(drain, often).unref();
  return {
    drain,
    close() {
      clearInterval(timer);
      calls.close(fd);
    },
  };
}

/**
 * Listens from now on, on one link of a network namespace.
 * @param pin a file that the namespace has
 * @param hear is called by `drain`, and now and then in between; a frame is its only for the time of the call
 */
export function tapOf(pin: string, link: string, hear: (frame: Buffer) => void): Tap {
  const [own, there] = ["/proc/thread-self/ns/net", pin].map((path) => openSync(path, "r"));
  try {
    assert.equal(calls.setns(there, newNet), 0, "needs root");
    return tapHere(link, hear);
  } finally {
    if (calls.setns(own, newNet) !== 0) process.abort();
    for (const fd of [own, there]) closeSync(fd ?? -1);
  }
}
