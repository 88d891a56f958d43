import { addressText } from "../../lib/address-bytes.ts";
import type { HostPort } from "../../model/network.ts";
import type { Message } from "./message.ts";

/** Sockets (include/uapi/linux/inet_diag.h, sock_diag.h; NETLINK_SOCK_DIAG). */
const byFamily = 20; // SOCK_DIAG_BY_FAMILY
const numbers = { tcp: 6, udp: 17 } as const; // IPPROTO_*
/** Of sockets that wait for whoever comes: TCP_LISTEN, and for datagrams TCP_CLOSE. */
const states = { tcp: 1 << 10, udp: 1 << 7 } as const;
const requestLength = 56; // struct inet_diag_req_v2
const at = { port: 4, address: 8 } as const; // of idiag_sport and idiag_src in struct inet_diag_msg
const lengths = { 2: 4, 10: 16 } as const;

export type WaitingFamily = 2 | 10;
export type WaitingProtocol = HostPort["protocol"];

export function dumpWaiting(family: WaitingFamily, protocol: WaitingProtocol): Message {
  const body = Buffer.alloc(requestLength);
  body.set([family, numbers[protocol]]);
  body.writeUInt32LE(states[protocol], 4);
  return { type: byFamily, flags: 0, body, attributes: [] };
}

/** @param body an answer to `dumpWaiting` */
export function readWaiting(body: Buffer, family: WaitingFamily, protocol: WaitingProtocol): HostPort {
  const address = addressText(body.subarray(at.address, at.address + lengths[family]));
  return { protocol, address, port: body.readUInt16BE(at.port) };
}
