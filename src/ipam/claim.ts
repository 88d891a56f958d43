import { EngineError, forbidden, invalid, system } from "../lib/errors.ts";
import { addressText, contains, lastOf, masked, type ParsedCidr, parseAddress, parseCidr, sizeOf } from "../lib/net.ts";
import type { AddressClaim, AddressPool } from "../model/address-pool.ts";
import type { IpAddress, PoolId } from "../model/ids.ts";
import type { Snapshot, Transaction } from "../store/store.ts";

/**
 * Claims an address of `pool` for `owner`: the wished one, else the lowest free one of the pool's range.
 * @throws {EngineError} forbidden when the wish is taken, and by whom; invalid when it is not in the pool; system when the range is full
 */
export function claimAddress(
  tx: Transaction,
  pool: AddressPool,
  wish: IpAddress | undefined,
  owner: AddressClaim["owner"],
  kind: AddressClaim["kind"] = "endpoint",
): IpAddress {
  const address = wish === undefined ? nextFree(tx, pool) : checkedWish(tx, pool, wish);
  tx.insert("claims", { pool: pool.id, address, kind, owner });
  return address;
}

/**
 * Claims an address as `claimAddress` does, from the first of several pools that has it, or has one free.
 * @returns the pool, too @throws {EngineError} what the first pool said; forbidden of any: the wish is in it, and taken
 */
export function claimFirst(
  tx: Transaction,
  pools: readonly AddressPool[],
  wish: IpAddress | undefined,
  owner: AddressClaim["owner"],
): { readonly pool: AddressPool; readonly address: IpAddress; readonly prefix: number } {
  let failure: unknown;
  for (const pool of pools) {
    try {
      return { pool, address: claimAddress(tx, pool, wish, owner), prefix: Number(pool.subnet.split("/")[1]) };
    } catch (error) {
      if (error instanceof EngineError && error.class === "forbidden") throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** Gives back the addresses of an owner, in the pools that are meant. */
export function releaseAddresses(tx: Transaction, owner: AddressClaim["owner"], isMeant = (_: PoolId) => true): void {
  for (const claim of tx.where("claims", "owner", owner)) {
    if (!isMeant(claim.pool)) continue;
    tx.delete("claims", `${claim.pool}|${claim.address}`);
    const pool = tx.get("pools", claim.pool);
    const number = parseAddress(claim.address)?.number;
    if (pool !== undefined && number !== undefined && number < (hints.get(pool) ?? 0n)) hints.set(pool, number);
  }
}

const blockOf = (text: string): ParsedCidr => {
  const block = parseCidr(text);
  if (block === undefined) throw new Error(`pool with a bad block: ${text}`);
  return block;
};

/** True for the network's own address and, in IPv4, the broadcast address; not in /31 and /32 (RFC 3021). */
export function isReserved(subnet: ParsedCidr, address: IpAddress): boolean {
  if (sizeOf(subnet) <= 2n) return false;
  const number = parseAddress(address)?.number;
  return number === masked(subnet).number || (subnet.family === 4 && number === lastOf(subnet));
}

/** True for an address that `nextFree` may choose. */
export function isAssignable(pool: AddressPool, address: IpAddress): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && contains(blockOf(pool.range), parsed) && !isReserved(blockOf(pool.subnet), address);
}

/** How many those are. */
export function countAssignable({ subnet: subnetText, range: rangeText }: AddressPool): number {
  const [subnet, range] = [blockOf(subnetText), blockOf(rangeText)];
  const ends = [masked(subnet).number, lastOf(subnet)].map((number) => ({ family: subnet.family, number }));
  const reserved = ends.filter((end) => contains(range, end) && isReserved(subnet, addressText(end)));
  return Number(sizeOf(range)) - reserved.length;
}

/** What is said when a pool has no address left: Docker's text, and the network. */
export function noAddress(rows: Snapshot, { networkId, subnet }: AddressPool): string {
  const name = rows.get("networks", networkId)?.spec.name ?? "";
  return `no available IPv${subnet.includes(":") ? 6 : 4} addresses on this network's address pools: ${name} (${networkId})`;
}

function checkedWish(tx: Transaction, pool: AddressPool, wish: IpAddress): IpAddress {
  const subnet = blockOf(pool.subnet);
  const parsed = parseAddress(wish);
  if (parsed === undefined || !contains(subnet, parsed))
    throw invalid(`invalid endpoint settings:\nno configured subnet or ip-range contain the IP address ${wish}`);
  const address = addressText(parsed);
  const holder = holderOf(tx, pool, address);
  if (holder !== undefined) throw forbidden(`Address already in use: ${address} is ${describeClaim(tx, holder)}`);
  if (isReserved(subnet, address))
    throw forbidden(`Address already in use: ${address} is the network or broadcast address of ${pool.subnet}`);
  return address;
}

/** Whose it is, for a refusal. */
export function describeClaim(tx: Transaction, { kind, owner }: AddressClaim): string {
  if (kind === "gateway") return "the network's gateway";
  if (kind === "auxiliary") return "reserved with --aux-address";
  const peer = tx.get("peers", owner);
  if (peer !== undefined) return `container ${peer.containerName}'s on node ${peer.hostname}`;
  const service = tx.get("services", owner);
  if (service !== undefined) return `service ${service.spec.name}'s`;
  return `container ${tx.get("endpoints", owner)?.containerName ?? owner}'s`;
}

/** Below this number everything was taken when it was looked at last. A shortcut only: the claims decide. It goes with the pool's row. */
const hints = new WeakMap<AddressPool, bigint>();

/** Who has an address, in this pool or in another of the same subnet on the same LAN. */
function holderOf(rows: Snapshot, pool: AddressPool, address: IpAddress): AddressClaim | undefined {
  const own = rows.get("claims", `${pool.id}|${address}`);
  if (own !== undefined || pool.segment === undefined) return own;
  // Networks of one LAN have one router.
  return claimOnSegment(rows, pool, address, ({ kind }) => kind !== "gateway");
}

/** Who has an address in another pool of the same LAN. */
export function claimOnSegment(
  rows: Snapshot,
  pool: AddressPool,
  address: IpAddress,
  counts: (claim: AddressClaim) => boolean = () => true,
): AddressClaim | undefined {
  if (pool.segment === undefined) return undefined;
  for (const other of rows.list("pools")) {
    if (other.segment !== pool.segment || other.id === pool.id) continue;
    const claim = rows.get("claims", `${other.id}|${address}`);
    if (claim !== undefined && counts(claim)) return claim;
  }
  return undefined;
}

/**
 * The lowest free address of the pool's range, as Docker chooses on one host: a container that comes back finds its
 * address again (moby libnetwork/ipams/defaultipam).
 * @param isTaken further addresses that are not free @throws {EngineError} system when the range is full
 */
export function nextFree(tx: Snapshot, pool: AddressPool, isTaken = (_: IpAddress) => false): IpAddress {
  const subnet = blockOf(pool.subnet);
  const range = masked(blockOf(pool.range));
  const from = hints.get(pool) ?? range.number;
  for (const [begin, end] of [
    [from, lastOf(range)],
    [range.number, from - 1n],
  ] as const)
    for (let number = begin; number <= end; number += 1n) {
      const address = addressText({ family: range.family, number });
      if (isReserved(subnet, address) || holderOf(tx, pool, address) !== undefined || isTaken(address)) continue;
      if (pool.segment === undefined) hints.set(pool, number + 1n);
      return address;
    }
  throw system(noAddress(tx, pool));
}
