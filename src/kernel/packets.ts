import { type FrameFilter, type FrameSocket, KernelError } from "./kernel.ts";
import { calls, check } from "./libc.ts";
import { wrapSocket } from "./wrap-socket.ts";

const afPacket = 17;
const rawNonBlocking = 3 | 0o2004000; // SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
const solSocket = 1;
const attachFilter = 26; // SO_ATTACH_FILTER
const filterLength = 16; // sizeof(struct sock_fprog)

/** Instructions of the classic BPF machine (include/uapi/linux/bpf_common.h) with offsets into an Ethernet frame. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];
const byteAt = (offset: number): Instruction => [0x30, 0, 0, offset];
const unlessEqual = (value: number, skip: number): Instruction => [0x15, 0, skip, value];
const take: Instruction = [0x06, 0, 0, 0xffff];
const drop: Instruction = [0x06, 0, 0, 0];

const ethernet = { arp: 0x0806, ip: 0x0800, ip6: 0x86dd } as const;
const filters: Readonly<Record<FrameFilter, { readonly type: number; readonly program: readonly Instruction[] }>> = {
  arp: { type: ethernet.arp, program: [take] },
  // UDP to port 68; the header's length is in its first byte.
  dhcp: {
    type: ethernet.ip,
    program: [byteAt(23), unlessEqual(17, 4), [0xb1, 0, 0, 14], [0x48, 0, 0, 16], unlessEqual(68, 1), take, drop],
  },
  // ICMPv6, neighbour advertisement.
  "neighbour-advertisement": {
    type: ethernet.ip6,
    program: [byteAt(20), unlessEqual(58, 3), byteAt(54), unlessEqual(136, 1), take, drop],
  },
};

/** Opens a socket for Ethernet frames on a link of this thread's namespace. @throws {KernelError} ENODEV, EPERM … */
export function openFrames(index: number, filter: FrameFilter, onFrame: (frame: Buffer) => void): FrameSocket {
  const { type, program } = filters[filter];
  // Without a protocol nothing is received before the filter is in place.
  const fd = check("packet socket", calls.socket(afPacket, rawNonBlocking, 0));
  try {
    const code = Buffer.concat(program.map(encode));
    const attached = calls.attachFilter(
      fd,
      solSocket,
      attachFilter,
      { len: program.length, filter: code },
      filterLength,
    );
    check("packet filter", attached);
    const address = socketAddress(type, index);
    check("packet bind", calls.bind(fd, address, address.length));
    if (filter === "neighbour-advertisement") joinAllNodes(fd, index);
  } catch (error) {
    calls.close(fd);
    throw error;
  }
  const socket = wrapSocket(fd);
  const own = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
  socket.on("data", onFrame);
  socket.on("error", () => socket.destroy()); // the link is gone, or down
  socket.resume();
  return {
    send(frame) {
      // Its number may be another socket's by now.
      if (socket.destroyed) throw new KernelError("ENETDOWN", "packet send: the link is gone, or went down");
      check("packet send", calls.send(own, frame, frame.length, 0));
    },
    get closed() {
      return socket.destroyed;
    },
    close: () => void socket.destroy(),
  };
}

function encode([code, ifTrue, ifFalse, k]: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(k, 4);
  return bytes;
}

/** struct sockaddr_ll */
function socketAddress(type: number, index: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(afPacket, 0);
  bytes.writeUInt16BE(type, 2);
  bytes.writeInt32LE(index, 4);
  return bytes;
}

/** Who is asked by nobody in particular answers to all nodes (RFC 4861 section 7.2.4): the link has to take that in. */
function joinAllNodes(fd: number, index: number): void {
  const request = Buffer.alloc(16); // struct packet_mreq
  request.writeInt32LE(index, 0);
  request.writeUInt16LE(0, 4); // PACKET_MR_MULTICAST
  request.writeUInt16LE(6, 6);
  Buffer.from("333300000001", "hex").copy(request, 8);
  check("packet membership", calls.setsockopt(fd, 263, 1, request, request.length)); // SOL_PACKET, PACKET_ADD_MEMBERSHIP
}
