import { createHash } from "node:crypto";
import { type EngineError, forbidden, invalid } from "../lib/errors.ts";
import {
  type AddressFamily,
  cidrText,
  contains,
  lastOf,
  masked,
  overlaps,
  type ParsedCidr,
  parseAddress,
  parseCidr,
  sizeOf,
} from "../lib/net.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { Cidr, IpAddress, NetworkId } from "../model/ids.ts";
import type { HostRoute, NetworkSpec } from "../model/network.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import { claimAddress, claimOnSegment, describeClaim, isReserved } from "./claim.ts";
import { checkSubnets, type CheckedSubnet } from "./subnets.ts";

export interface OpenRequest {
  readonly networkId: NetworkId;
  readonly spec: NetworkSpec;
  /** True when the driver takes several subnets of one family. */
  readonly severalSubnets: boolean;
  /** Where subnets come from when the user names none: each `base` is cut into blocks with prefix length `size`. */
  readonly defaultPools: readonly { readonly base: Cidr; readonly size: number }[];
  /** The IPv6 blocks without a wish come from a unique local prefix derived from it. */
  readonly daemonId: string;
  /** Routes and addresses of the host that are not ours. */
  readonly hostRoutes: readonly HostRoute[];
  /** Further blocks that are not to be used, and what has them. */
  readonly others?: readonly { readonly to: Cidr; readonly name: string }[];
  readonly lenientCidr: boolean;
  /**
   * The link on whose LAN the subnets are: the host has routes there, and networks on other links may have the same ones.
   * Absent: they are the host's own.
   */
  readonly segment?: string;
  /** Addresses that the host takes for itself, in canonical text. */
  readonly reserved?: readonly IpAddress[];
}

/**
 * Opens the pools of a new network: what the user named, else the first free default block of each family it has.
 * Claims gateways and auxiliary addresses.
 * @returns the pools, IPv4 first, and labels that say what was masked
 * @throws {EngineError} invalid for what the user typed; forbidden for an overlap, with the other party's name
 */
export function openPools(
  tx: Transaction,
  request: OpenRequest,
): { readonly pools: readonly AddressPool[]; readonly labels: Readonly<Record<string, string>> } {
  const { spec } = request;
  if (spec.ipam.driver === "null") return withoutPools(spec);
  const { subnets, labels } = checkSubnets(spec.ipam.subnets, { lenient: request.lenientCidr, ipv6: spec.ipv6 });
  const pools = ([4, 6] as const).flatMap((family) => {
    if (!(family === 4 ? spec.ipv4 : spec.ipv6)) return [];
    const named = subnets.filter((s) => s.subnet.family === family);
    if (named.length > 1 && !request.severalSubnets)
      throw forbidden(`${spec.driver} driver doesn't support multiple subnets`);
    if (named.length === 0)
      return [openPool(tx, request, { subnet: freeBlock(tx, request, family), auxiliary: {} }, false)];
    return named.map((subnet) => openPool(tx, request, subnet, true));
  });
  const blocks = pools.flatMap(({ subnet }) => parseCidr(subnet) ?? []);
  const stray = request.reserved?.find((text) => !blocks.some((block) => isIn(block, text)));
  if (stray !== undefined) throw invalid(`the host's address ${stray} is in no subnet of the network`);
  return { pools, labels };
}

function isIn(block: ParsedCidr, text: IpAddress): boolean {
  const address = parseAddress(text);
  return address !== undefined && contains(block, address);
}

/** `--ipam-driver null`: containers without addresses. */
function withoutPools({ ipam }: NetworkSpec): ReturnType<typeof openPools> {
  if (ipam.subnets.some((s) => s.subnet !== undefined && s.subnet !== ""))
    throw invalid("null ipam driver does not handle specific address pool requests");
  return { pools: [], labels: {} };
}

/** Deletes a network's pools and every claim in them. */
export function closePools(tx: Transaction, networkId: NetworkId): void {
  for (const pool of tx.where("pools", "network", networkId)) {
    for (const claim of tx.where("claims", "pool", pool.id)) tx.delete("claims", `${claim.pool}|${claim.address}`);
    tx.delete("pools", pool.id);
  }
}

function openPool(tx: Transaction, request: OpenRequest, wish: CheckedSubnet, userSubnet: boolean): AddressPool {
  const { networkId } = request;
  const other = otherParty(tx, request, wish, userSubnet);
  if (other !== undefined) throw overlap(wish.subnet, other);
  const subnet = cidrText(wish.subnet);
  if (sizeOf(wish.subnet) < 2n)
    throw invalid(`invalid network config:\ninvalid subnet ${subnet}: it has no room for a gateway and a container`);
  const draft: AddressPool = {
    id: `${networkId}/${subnet}`,
    networkId,
    subnet,
    range: cidrText(wish.range ?? wish.subnet),
    gateway: wish.gateway ?? "",
    ...(request.segment !== undefined && { segment: request.segment }),
    userSubnet,
  };
  const claim = (address: string, kind: "gateway" | "auxiliary") =>
    tx.insert("claims", { pool: draft.id, address, kind, owner: networkId });
  const reserved = Object.entries(wish.auxiliary);
  for (const [name, address] of reserved) {
    if (tx.get("claims", `${draft.id}|${address}`) === undefined && address !== wish.gateway)
      claim(address, "auxiliary");
    else if (!/^DefaultGatewayIPv[46]$/.test(name))
      throw forbidden(`auxiliary address ${name}: ${address} is named twice`);
  }
  for (const address of request.reserved?.filter((text) => isIn(wish.subnet, text)) ?? []) {
    if (isReserved(wish.subnet, address))
      throw forbidden(`Address already in use: ${address} is the network or broadcast address of ${subnet}`);
    const other = claimOnSegment(tx, draft, address);
    if (other !== undefined) throw forbidden(`Address already in use: ${address} is ${describeClaim(tx, other)}`);
    if (address === wish.gateway || tx.get("claims", `${draft.id}|${address}`) !== undefined)
      throw forbidden(`Address already in use: ${address} cannot be the host's, it is the gateway or reserved`);
    claim(address, "auxiliary");
  }
  if (wish.gateway !== undefined && isReserved(wish.subnet, wish.gateway))
    throw invalid(
      `invalid network config:\ninvalid gateway ${wish.gateway}: it is the network or broadcast address of ${subnet}`,
    );
  const gateway = wish.gateway ?? claimAddress(tx, draft, undefined, networkId, "gateway");
  if (wish.gateway !== undefined) claim(wish.gateway, "gateway");
  const pool = { ...draft, gateway };
  tx.insert("pools", pool);
  return pool;
}

interface OtherParty {
  readonly block: ParsedCidr;
  readonly name: string;
}

/**
 * Who has an address of `subnet` already: a network of ours, or a route of the host. On a LAN both are left out where
 * they are not in the way: the host has routes there, and is not asked.
 */
function otherParty(
  rows: Snapshot,
  request: OpenRequest,
  { subnet, range }: CheckedSubnet,
  userSubnet: boolean,
): OtherParty | undefined {
  const besides = request.segment !== undefined && userSubnet ? { ...request, hostRoutes: [] } : request;
  const own = { ...(request.segment !== undefined && { segment: request.segment }), subnet, range };
  for (const party of parties(rows, besides))
    if (overlaps(party.block, subnet) && !(party.pool !== undefined && mayShare(rows, party.pool, own))) return party;
  return undefined;
}

interface Claimant {
  readonly segment?: string;
  readonly subnet: ParsedCidr;
  readonly range: ParsedCidr | undefined;
}

/**
 * Subnets of two LANs, or of one, where both keep to a range of their own (moby libnetwork/ipams/defaultipam); and a LAN's and
 * `ingress`: nobody is on both, and a LAN that is 10.0.0.0/8 leaves `ingress` no other place.
 */
function mayShare(rows: Snapshot, pool: AddressPool, own: Claimant): boolean {
  if (own.segment === undefined) return false;
  if (rows.get("networks", pool.networkId)?.spec.ingress === true) return true;
  if (pool.segment === undefined) return false;
  if (pool.segment !== own.segment) return true;
  const range = parseCidr(pool.range);
  const separate = range !== undefined && own.range !== undefined && !overlaps(range, own.range);
  return separate && pool.range !== pool.subnet && pool.subnet === cidrText(own.subnet);
}

function* parties(
  rows: Snapshot,
  { hostRoutes, others = [] }: Pick<OpenRequest, "hostRoutes" | "others">,
): Iterable<OtherParty & { readonly pool?: AddressPool }> {
  for (const pool of rows.list("pools")) {
    const block = parseCidr(pool.subnet);
    const network = rows.get("networks", pool.networkId);
    if (block) yield { block, pool, name: `network ${network?.spec.name ?? pool.networkId} (${pool.subnet})` };
  }
  for (const { to, name } of others) {
    const block = parseCidr(to);
    if (block) yield { block, name };
  }
  for (const { to, link } of hostRoutes) {
    const block = parseCidr(to);
    if (block) yield { block, name: `the host's route ${to} on ${link}` };
  }
}

const overlap = (subnet: ParsedCidr, other: OtherParty): EngineError =>
  forbidden(
    `invalid pool request: Pool overlaps with other one on this address space: ${cidrText(subnet)} overlaps with ${other.name}`,
  );

/** The lowest default block that overlaps nobody. @throws {EngineError} invalid when there is none */
function freeBlock(rows: Snapshot, request: OpenRequest, family: AddressFamily): ParsedCidr {
  const others = [...parties(rows, request)].filter(({ block }) => block.family === family);
  const taken = others.map(({ block }) => masked(block)).toSorted((a, b) => (a.number < b.number ? -1 : 1));
  const bases = request.defaultPools.flatMap(({ base, size }) => {
    const block = parseCidr(base);
    return block?.family === family ? [{ block: masked(block), size }] : [];
  });
  if (family === 6 && bases.length === 0) bases.push({ block: uniqueLocal(request.daemonId), size: 64 });
  for (const { block, size } of bases) {
    const found = firstFree(block, size, taken);
    if (found !== undefined) return found;
  }
  const whole = others.find(({ block: one }) =>
    bases.some(({ block }) => one.prefix <= block.prefix && overlaps(one, block)),
  );
  const why = whole === undefined ? "" : ` (${whole.name} covers one)`;
  throw invalid(
    `all predefined address pools have been fully subnetted: no IPv${family} block of ${bases.map((b) => cidrText(b.block)).join(", ")} is free${why}; remove a network, or name one with --subnet`,
  );
}

/** @param taken by first address: one pass is enough, as the candidate only moves up */
function firstFree(base: ParsedCidr, prefix: number, taken: readonly ParsedCidr[]): ParsedCidr | undefined {
  let block: ParsedCidr = { ...base, prefix };
  for (const other of taken) {
    if (!overlaps(other, block)) continue;
    const behind = masked({ ...block, number: lastOf(other) }).number + sizeOf(block);
    block = { ...block, number: behind };
  }
  return block.number + sizeOf(block) - 1n <= lastOf(base) ? block : undefined;
}

/** RFC 4193: fd, and 40 bits of the daemon's id (moby daemon/daemon.go deriveULABaseNetwork). */
function uniqueLocal(daemonId: string): ParsedCidr {
  const digits = createHash("sha256").update(daemonId).digest("hex").slice(6, 16);
  return { family: 6, number: BigInt(`0xfd${digits}`) << 80n, prefix: 48 };
}
