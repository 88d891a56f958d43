import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { system } from "../../lib/errors.ts";
import type { GivenAddress, LeaseRequest } from "../../model/lease.ts";
import type { Ears } from "../ears.ts";
import { broadcastMac, readUdp, senderOf, udp } from "../frames.ts";
import { type ClientMessage, decode, encode, prefixOf, type ServerMessage } from "./message.ts";

const clientPort = 68;
const serverPort = 67;
/** Milliseconds until a question is asked again (RFC 2131 section 4.1, sooner: a start waits for it). */
const pauses = [500, 1000, 2000, 4000] as const;
const patience = 8000; // milliseconds for all questions and answers of one address

/** A server's answer, and the MAC that it came from. */
interface Heard extends ServerMessage {
  readonly from: string;
}

/**
 * Gets an address from the LAN's DHCP server: discover, offer, request, acknowledgement (RFC 2131 section 3.1). All of it
 * goes through the host's link, in frames of the container's MAC, before the container has an interface.
 * @throws {EngineError} system, within 9 seconds, when nobody answers or all is refused; {KernelError} without the link
 */
export async function obtain(ears: Ears, request: LeaseRequest): Promise<GivenAddress> {
  const until = Date.now() + patience;
  const offer = await ask(
    ears,
    request,
    until,
    { type: "discover" },
    (m) => m.type === "offer" && m.server !== undefined,
  );
  if (offer === undefined) throw system(`no DHCP server answered on ${request.link} within ${patience / 1000} seconds`);
  const chosen = { type: "request", requested: offer.address, ...(offer.server && { server: offer.server }) } as const;
  const answer = await ask(ears, request, until, chosen, (m) => isVerdict(m) && m.server === offer.server);
  if (answer === undefined) throw system(`the DHCP server on ${request.link} offered an address and then fell silent`);
  return granted(request, answer);
}

/**
 * Asks for the same address once more, as after a reboot (RFC 2131 section 3.2): servers answer by broadcast then, which
 * the host's link hears; a renewal's answer would go to the container.
 * @returns undefined when the server says that the address is another's by now
 * @throws {EngineError} system when nobody answers
 */
export async function renew(ears: Ears, request: LeaseRequest, address: string): Promise<GivenAddress | undefined> {
  const answer = await ask(ears, request, Date.now() + patience, { type: "request", requested: address }, isVerdict);
  if (answer === undefined)
    throw system(`no DHCP server answered on ${request.link} within ${patience / 1000} seconds`);
  return answer.type === "nak" ? undefined : granted(request, answer);
}

/** Gives an address back. Nobody answers to that. @throws {KernelError} without the link */
export function release(ears: Ears, request: LeaseRequest, given: GivenAddress): void {
  const { address, server, serverMac } = given;
  tell(ears, request, { type: "release", address, server }, { from: address, to: server, mac: serverMac });
}

/** Says that somebody else on the LAN has the address (RFC 2131 section 4.4.4). Nobody answers to that, either. */
export function decline(ears: Ears, request: LeaseRequest, given: GivenAddress): void {
  const { address: requested, server } = given;
  tell(ears, request, { type: "decline", requested, server }, everybody);
}

type Message = Omit<ClientMessage, "transaction" | keyof ReturnType<typeof identity>>;
interface Way {
  readonly from: string;
  readonly to: string;
  readonly mac: string;
}
const everybody: Way = { from: "0.0.0.0", to: "255.255.255.255", mac: broadcastMac };

function tell(ears: Ears, request: LeaseRequest, message: Message, way: Way): void {
  const hearing = ears.listen(request.link, "dhcp", () => {});
  hearing.send(packetOf(request, message, randomInt(2 ** 32), way));
  hearing.end();
}

function packetOf(request: LeaseRequest, message: Message, transaction: number, { from, to, mac }: Way): Buffer {
  return udp(
    { to: mac, from: request.mac },
    { address: from, port: clientPort },
    { address: to, port: serverPort },
    encode({ ...identity(request), ...message, transaction }),
  );
}

const isVerdict = (m: ServerMessage) => m.type === "ack" || m.type === "nak";

function granted({ link }: LeaseRequest, answer: Heard): GivenAddress {
  if (answer.type === "nak") throw system(`the DHCP server on ${link} refused: ${answer.text ?? "it gave no reason"}`);
  const prefix = prefixOf(answer.mask ?? "255.255.255.0");
  if (answer.server === undefined || answer.seconds === undefined || prefix === undefined)
    throw system(`the DHCP server on ${link} gave an address without saying for how long, or on what subnet`);
  if (!isUsable(answer.address, prefix, answer.router) || answer.seconds === 0)
    throw system(
      `the DHCP server on ${link} gave what no container can use: ${answer.address}/${prefix} for ${answer.seconds} seconds, router ${answer.router ?? "none"}`,
    );
  return {
    address: answer.address,
    prefix,
    ...(answer.router !== undefined && { gateway: answer.router }),
    server: answer.server,
    serverMac: answer.from,
    seconds: answer.seconds,
    obtainedAt: Date.now(),
  };
}

/** Not "this host", loopback, multicast or reserved (RFC 6890), not all addresses there are, and not the router's own. */
function isUsable(address: string, prefix: number, router: string | undefined): boolean {
  const first = Number(address.split(".")[0]);
  return first > 0 && first !== 127 && first < 224 && prefix > 0 && address !== router;
}

const identity = ({ mac, clientId, hostname }: LeaseRequest) => ({
  mac,
  // Type 0: not a hardware address (RFC 2132 section 9.14).
  clientId: Buffer.concat([Buffer.from([0]), Buffer.from(clientId, "hex")]),
  hostname,
});

/** @param until milliseconds since 1970 @returns the first answer that fits; undefined when none comes until then */
async function ask(
  ears: Ears,
  request: LeaseRequest,
  until: number,
  question: Message,
  fits: (answer: ServerMessage) => boolean,
): Promise<Heard | undefined> {
  const transaction = randomInt(2 ** 32);
  const packet = packetOf(request, question, transaction, everybody);
  const heard = Promise.withResolvers<Heard>();
  const hearing = ears.listen(request.link, "dhcp", (frame) => {
    const answer = decode(readUdp(frame) ?? Buffer.alloc(0), request.mac);
    if (answer?.transaction === transaction && fits(answer)) heard.resolve({ ...answer, from: senderOf(frame) });
  });
  try {
    for (const pause of [...pauses, patience]) {
      const left = until - Date.now();
      if (left <= 0) break;
      hearing.send(packet);
      const late = new AbortController();
      const waiting = sleep(Math.min(pause, left), undefined, { signal: late.signal });
      const answer = await Promise.race([heard.promise, waiting]);
      late.abort();
      if (answer !== undefined) return answer;
    }
    return undefined;
  } finally {
    hearing.end();
  }
}
