import { channel } from "node:diagnostics_channel";
import { KernelError } from "../kernel.ts";
import { calls, check, errnoName, errnoText, lastErrno } from "../libc.ts";
import { u32 } from "./attributes.ts";
import { type Answer, decodeMessages, encodeMessage, flags, type Message } from "./message.ts";

const afNetlink = 16;
const raw = 3; // SOCK_RAW
const closeOnExec = 0o2000000;
const solNetlink = 270;
const capAck = 10; // NETLINK_CAP_ACK: an error repeats the request's header only
const extAck = 11; // NETLINK_EXT_ACK
const strict = 12; // NETLINK_GET_STRICT_CHK: dumps honour their filters
const eintr = 4;

/** One buffer for all sockets: every exchange is synchronous. Longer than any datagram of a dump (32 KiB). */
const received = Buffer.alloc(1 << 18);

/** Who subscribes is told of each table that is read, by the request (node:diagnostics_channel). */
export const dumps = channel("tombolo:netlink.dump");

/** A body that an answer carried. */
export interface Reply {
  readonly type: number;
  readonly body: Buffer;
}

/** NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER, NETLINK_GENERIC (include/uapi/linux/netlink.h). */
export type Protocol = 0 | 4 | 12 | 16;

/** A netlink socket, rtnetlink's unless another is said. It stays in the namespace in which this thread was when it was made. */
export class RouteSocket {
  readonly #fd: number;
  #sequence = 0;

  /** @throws {KernelError} EMFILE … */
  constructor(protocol: Protocol = 0) {
    this.#fd = check("netlink socket", calls.socket(afNetlink, raw | closeOnExec, protocol));
    for (const option of [capAck, extAck, strict]) calls.setsockopt(this.#fd, solNetlink, option, u32(1), 4);
  }

  /**
   * Sends the messages in one system call, so that the kernel does all of them even when this process ends meanwhile.
   * @returns the replies of all, in order. @throws {KernelError} the first refusal; the messages after it are done nevertheless
   */
  exchange(...messages: readonly Message[]): Reply[] {
    const first = this.#reserve(messages.length);
    const bytes = messages.map((m, i) =>
      encodeMessage({ ...m, flags: m.flags | flags.request | flags.ack }, first + i),
    );
    this.#send(Buffer.concat(bytes));
    const replies: Reply[] = [];
    const results = new Map<number, Answer & { kind: "result" }>();
    while (results.size < messages.length) {
      for (const answer of this.#receive()) {
        if (answer.sequence < first || answer.sequence >= first + messages.length) continue;
        if (answer.kind === "result") results.set(answer.sequence, answer);
        else if (answer.kind === "message") replies.push(answer);
      }
    }
    for (let i = 0; i < messages.length; i++) throwRefusal(results.get(first + i));
    return replies;
  }

  /** Reads a whole table, again when it changed meanwhile. */
  dump(message: Message): Reply[] {
    dumps.publish(message);
    for (;;) {
      const sequence = this.#reserve(1);
      this.#send(encodeMessage({ ...message, flags: flags.request | flags.dump }, sequence));
      const replies = this.#collect(sequence);
      if (replies !== undefined) return replies;
    }
  }

  close(): void {
    calls.close(this.#fd);
  }

  /** The first of `count` numbers. Nothing is under way when they begin anew: an exchange ends before the next begins. */
  #reserve(count: number): number {
    if (this.#sequence + count > 0x7fffffff) this.#sequence = 0;
    const first = this.#sequence + 1;
    this.#sequence += count;
    return first;
  }

  /** @returns undefined when the dump was interrupted by a change */
  #collect(sequence: number): Reply[] | undefined {
    const replies: Reply[] = [];
    let whole = true;
    for (;;) {
      for (const answer of this.#receive()) {
        if (answer.sequence !== sequence) continue;
        if (answer.kind === "interrupted") whole = false;
        else if (answer.kind === "message") replies.push(answer);
        else {
          throwRefusal(answer);
          return whole ? replies : undefined;
        }
      }
    }
  }

  #send(bytes: Buffer): void {
    check("netlink send", calls.send(this.#fd, bytes, bytes.length, 0));
  }

  #receive(): Answer[] {
    for (;;) {
      const length = Number(calls.recv(this.#fd, received, received.length, 0));
      if (length < 0 && lastErrno() === eintr) continue;
      return decodeMessages(received.subarray(0, check("netlink recv", length)));
    }
  }
}

function throwRefusal(answer: (Answer & { kind: "result" }) | undefined): void {
  if (answer === undefined || answer.errno === 0) return;
  const plain = errnoText(answer.errno);
  throw new KernelError(errnoName(answer.errno), answer.text === undefined ? plain : `${plain}: ${answer.text}`);
}
