import { closeSync } from "node:fs";
import { isIPv6 } from "node:net";
import { Address6 } from "ip-address";
import type { Kernel } from "./kernel.ts";
import { calls, check } from "./libc.ts";

// include/uapi/linux/in.h, include/linux/net.h; SOCK_CLOEXEC and SOCK_NONBLOCK are always on
const family = { v4: 2, v6: 10 } as const;
const type = { tcp: 1, udp: 2 } as const;
const flags = 0o2004000;
const backlog = 64;

/** A bound socket in the namespace in which this thread is. @throws {KernelError} */
export function openSocket({ protocol, address, listen = false }: Parameters<Kernel["socket"]>[1]): number {
  const fd = check("socket", calls.socket(isIPv6(address) ? family.v6 : family.v4, type[protocol] | flags, 0));
  try {
    const to = socketAddress(address);
    check(`bind ${address}`, calls.bind(fd, to, to.length));
    if (listen) check("listen", calls.listen(fd, backlog));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_in or sockaddr_in6, port 0. */
function socketAddress(address: string): Buffer {
  if (isIPv6(address)) {
    const number = new Address6(address).bigInt().toString(16).padStart(32, "0");
    return Buffer.concat([Buffer.from([family.v6, 0, 0, 0, 0, 0, 0, 0]), Buffer.from(number, "hex"), Buffer.alloc(4)]);
  }
  return Buffer.from([family.v4, 0, 0, 0, ...address.split(".").map(Number), 0, 0, 0, 0, 0, 0, 0, 0]);
}
