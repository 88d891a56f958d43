import { addressText, contains, type ParsedAddress, parseAddress, parseCidr } from "../lib/net.ts";
import type { SandboxId } from "../model/ids.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { Snapshot } from "../store/store.ts";
import type { Exchange, Target, Transport } from "./exchange.ts";
import { codeOf, isTruncated, type Query, responseCode } from "./wire.ts";

const tries = 3; // servers asked for one query (as many as dockerd and resolv.conf(5) have)
const ownAddress = "127.0.0.11";

const isIn = (block: string) => {
  const parsed = parseCidr(block);
  return (address: ParsedAddress) => parsed !== undefined && contains(parsed, address);
};
const loopbacks = [isIn("127.0.0.0/8"), isIn("::1/128")];
const isMapped = isIn("::ffff:0:0/96");

/** An IPv4 address written as an IPv6 one (RFC 4291 section 2.5.5.2) is an IPv4 address: what is said of those holds. */
const unmapped = (address: ParsedAddress): ParsedAddress =>
  isMapped(address) ? { family: 4, number: address.number & 0xffff_ffffn } : address;

/**
 * Whom a sandbox's unknown names are asked of: its own servers, else the host's. They are asked from inside the sandbox,
 * so that a container without a way out has none here either; those on the host's loopback from the host, but not for
 * a sandbox whose networks are all internal.
 */
export function targetsOf(rows: Snapshot, id: SandboxId, host: () => DnsConfig): Target[] {
  const sandbox = rows.get("sandboxes", id);
  if (sandbox === undefined) return [];
  const configured = sandbox.dns.servers.length > 0 ? sandbox.dns.servers : host().servers;
  const named = rows.get("containers", sandbox.containerId)?.spec.dns ?? [];
  const internal = rows
    .where("endpoints", "sandbox", id)
    .every((e) => rows.get("networks", e.networkId)?.spec.internal === true);
  return configured
    .flatMap((text): Target[] => {
      const parsed = parseAddress(text);
      if (parsed === undefined) return []; // with a zone: an interface that is not in there
      const address = unmapped(parsed);
      const server = addressText(address);
      // A loopback address that the user named for this container is the container's.
      if (!loopbacks.some((holds) => holds(address)) || named.includes(text))
        return server === ownAddress ? [] : [{ server, namespace: `sandbox:${id}` }];
      return internal ? [] : [{ server, namespace: "host" }];
    })
    .slice(0, tries);
}

/**
 * Asks the targets in order. An answer that was cut short is fetched whole over TCP.
 * @returns the first answer that is no failure, else the last failure; undefined when nobody answered
 */
export async function forward(
  exchange: Exchange,
  targets: readonly Target[],
  query: Query,
  transport: Transport,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  let last: Buffer | undefined;
  for (const target of targets) {
    let answer = await exchange(target, query.bytes, transport, signal);
    if (answer !== undefined && transport === "udp" && isTruncated(answer))
      answer = (await exchange(target, query.bytes, "tcp", signal)) ?? answer;
    if (signal.aborted) return undefined;
    if (answer === undefined) continue;
    last = answer;
    if (![responseCode.serverFailure, responseCode.refused].some((code) => code === codeOf(answer))) break;
  }
  return last;
}
