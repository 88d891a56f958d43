import type { Answer as DnsRecord } from "dns-packet";
import type { SandboxId } from "../model/ids.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { Exchange, Transport } from "./exchange.ts";
import { forward, targetsOf } from "./forward.ts";
import { addressesOf, type Known, nameOf, reverseAddress } from "./names.ts";
import { type Query, responseCode, writeAnswer } from "./wire.ts";

/** One question of one sandbox, and what it may be answered from. */
export interface Asked extends Known {
  readonly sandbox: SandboxId;
  readonly query: Query;
  readonly transport: Transport;
  readonly signal: AbortSignal;
}
/** Answers, or leaves the question to the next one with undefined. */
export type Handler = (asked: Asked) => Promise<Buffer | undefined> | Buffer | undefined;

const lifetime = 600; // seconds that clients may keep an answer (as dockerd says)
const ownTypes: readonly string[] = ["A", "AAAA"];

/** Names of the sandbox's own networks. A known name without records of the type is there nevertheless: no error. */
export const answerName: Handler = (asked) => {
  const { sandbox, query } = asked;
  const { name, type, class: network = "IN" } = query.question;
  const addresses = network === "IN" ? addressesOf(asked, sandbox, name) : undefined;
  if (addresses === undefined) return undefined;
  if (type !== "A" && type !== "AAAA") return writeAnswer(query, []);
  const wanted = addresses.filter((a) => a.includes(":") === (type === "AAAA"));
  return writeAnswer(
    query,
    shuffled(wanted).map((data): DnsRecord => ({ type, name, ttl: lifetime, data })),
  );
};

/** Every server of one name gets its share of clients that take the first address. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Addresses of the sandbox's own networks. */
export const answerReverse: Handler = (asked) => {
  const { sandbox, query } = asked;
  const { name, type } = query.question;
  const address = type === "PTR" ? reverseAddress(name) : undefined;
  const data = address === undefined ? undefined : nameOf(asked, sandbox, address);
  return data === undefined ? undefined : writeAnswer(query, [{ type: "PTR", name, ttl: lifetime, data }]);
};

/**
 * With an own `ndots`, a name without a dot is for the search list: it is not asked of others (as dockerd does).
 * Otherwise it is, as resolv.conf says `ndots:0`. dockerd's answer is empty, as if the name were there.
 */
export const answerShort: Handler = ({ rows, sandbox, query: { question }, query }) => {
  const options = rows.get("sandboxes", sandbox)?.dns.options ?? [];
  const ndots = options.some((option) => /^ndots:0*[1-9]/.test(option));
  if (!ndots || question.name.includes(".") || !ownTypes.includes(question.type)) return undefined;
  return writeAnswer(query, [], responseCode.noSuchName);
};

/** Everything else, from the sandbox's servers. */
export function answerForwarded(exchange: Exchange, upstream: () => DnsConfig): Handler {
  return async ({ rows, sandbox, query, transport, signal }) => {
    const targets = targetsOf(rows, sandbox, upstream);
    return (
      (await forward(exchange, targets, query, transport, signal)) ?? writeAnswer(query, [], responseCode.serverFailure)
    );
  };
}

const mostWaiting = { sandbox: 1024, all: 4096 } as const; // questions under way; dockerd has 1024 a sandbox

/**
 * Lets a number of questions through at a time, so that one container cannot use up the daemon's descriptors; more are
 * refused. @param onRefused is told of the first one until it gets better
 */
export function bounded(
  handler: Handler,
  onRefused: (sandbox: SandboxId) => void,
  limits: { readonly sandbox: number; readonly all: number } = mostWaiting,
): Handler {
  const waiting = new Map<SandboxId, number>();
  const refusing = new Set<SandboxId>();
  let all = 0;
  return async (asked) => {
    const { sandbox, query } = asked;
    const mine = waiting.get(sandbox) ?? 0;
    if (mine >= limits.sandbox || all >= limits.all) {
      if (!refusing.has(sandbox)) onRefused(sandbox);
      refusing.add(sandbox);
      return writeAnswer(query, [], responseCode.refused);
    }
    all += 1;
    waiting.set(sandbox, mine + 1);
    try {
      return await handler(asked);
    } finally {
      all -= 1;
      const left = (waiting.get(sandbox) ?? 1) - 1;
      if (left > 0) waiting.set(sandbox, left);
      else {
        waiting.delete(sandbox);
        refusing.delete(sandbox);
      }
    }
  };
}
