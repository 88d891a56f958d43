import { system } from "../lib/errors.ts";
import type { EndpointAddress } from "../model/endpoint.ts";
import type { GivenAddress, Lease } from "../model/lease.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import type { Parts } from "./parts.ts";

const forEver = 0xffffffff;
const shortest = 1_000; // milliseconds until a renewal, whatever the server says
const soonest = 5_000; // milliseconds between two attempts to renew a lease
const overdue = 10_000; // milliseconds between two attempts when it has ended
const latest = 2 ** 31 - 1; // milliseconds: the longest timer of Node

/** Writes what a DHCP server gave. @throws {EngineError} system when another container has it: there are two servers, then */
export function putLease(tx: Transaction, lease: Lease): void {
  const { link, address, clientId } = lease;
  const other = tx
    .list("leases")
    .find((one) => one.link === link && one.address === address && one.clientId !== clientId);
  if (other !== undefined && !hasEnded(other))
    throw system(`the DHCP server on ${link} gave ${address}, which another container has from it`);
  tx.put("leases", lease);
}

/** @returns false when the endpoint is gone meanwhile @throws {EngineError} system, as `putLease` */
function writeRenewed(tx: Transaction, lease: Lease): boolean {
  const { endpointId, address, prefix, gateway } = lease;
  const endpoint = tx.get("endpoints", endpointId);
  if (endpoint === undefined || tx.get("leases", endpointId) === undefined) return false;
  putLease(tx, lease);
  const [before] = endpoint.addresses;
  if (before?.address !== address || before.prefix !== prefix || before.gateway !== gateway)
    tx.put("endpoints", { ...endpoint, addresses: [addressOf(lease)] });
  return true;
}

/** The address of an endpoint that a server gave. */
export const addressOf = ({ address, prefix, gateway }: GivenAddress): EndpointAddress => ({
  address,
  prefix,
  ...(gateway !== undefined && { gateway }),
});

const networkOf = (rows: Snapshot, { endpointId }: Lease): Network | undefined =>
  rows.get("networks", rows.get("endpoints", endpointId)?.networkId ?? "");

const endOf = ({ obtainedAt, seconds }: Lease) => (seconds === forEver ? Infinity : obtainedAt + seconds * 1000);
const hasEnded = (lease: Lease) => endOf(lease) <= Date.now();

/** What a network's user has to know of an endpoint's lease, if anything. */
export function leaseTrouble(rows: Snapshot, id: EndpointId): string | undefined {
  const lease = rows.get("leases", id);
  const endpoint = rows.get("endpoints", id);
  if (lease === undefined || endpoint === undefined || !hasEnded(lease)) return undefined;
  return `container ${endpoint.containerName} has no address: its lease of ${lease.address} ended at ${new Date(endOf(lease)).toISOString()}, and the DHCP server on ${lease.link} has not renewed it; it is asked every ${overdue / 1000} seconds`;
}

/**
 * Keeps what the LAN's DHCP servers gave: each lease is renewed at half its time (RFC 2131 section 4.4.5), and given back
 * when its endpoint is gone. All of it follows from rows, so a restart goes on where the last daemon ended.
 */
export class Leases {
  readonly #parts: Parts;
  readonly #timers = new Map<`${"renew" | "end"} ${EndpointId}`, NodeJS.Timeout>();
  readonly #end = new AbortController();
  #following: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    this.#following = this.#follow();
  }

  async #follow(): Promise<void> {
    for await (const { changed } of this.#parts.store.watch(this.#end.signal))
      for (const { table, key } of changed)
        if (table === "leases" || table === "endpoints")
          await this.#see(key).catch((error) => this.#complain(key, error));
  }

  async stop(): Promise<void> {
    this.#end.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await this.#following;
  }

  async #see(id: EndpointId): Promise<void> {
    const rows = this.#parts.store.snapshot();
    const lease = rows.get("leases", id);
    this.#clear(id);
    if (lease === undefined) return;
    if (rows.get("endpoints", id) === undefined) return this.#giveBack(lease);
    if (lease.seconds === forEver) return;
    this.#plan("renew", id, Math.max(lease.obtainedAt + lease.seconds * 500 - Date.now(), shortest));
    this.#plan("end", id, Math.max(endOf(lease) - Date.now(), 0));
  }

  #clear(id: EndpointId): void {
    for (const what of ["renew", "end"] as const) {
      clearTimeout(this.#timers.get(`${what} ${id}`));
      this.#timers.delete(`${what} ${id}`);
    }
  }

  #plan(what: "renew" | "end", id: EndpointId, pause: number): void {
    const work = { renew: () => this.#renew(id), end: () => this.#stopUse(id) }[what];
    const run = () => void work().catch((error: unknown) => this.#complain(id, error));
    this.#timers.set(`${what} ${id}`, setTimeout(run, Math.min(pause, latest)));
  }

  /** An address whose lease has ended may be another's at any time (RFC 2131 section 4.4.5). */
  async #stopUse(id: EndpointId): Promise<void> {
    const rows = this.#parts.store.snapshot();
    const lease = rows.get("leases", id);
    if (lease === undefined || !hasEnded(lease) || rows.get("endpoints", id)?.addresses.length === 0) return;
    this.#parts.log.warn(
      { endpoint: id, address: lease.address },
      "a lease has ended: its address is not used any more",
    );
    this.#tell(lease, "");
    await this.#parts.store.update((tx) => {
      const endpoint = tx.get("endpoints", id);
      if (endpoint !== undefined) tx.put("endpoints", { ...endpoint, addresses: [] });
    });
  }

  #tell(lease: Lease, after: string): void {
    const rows = this.#parts.store.snapshot();
    const network = networkOf(rows, lease);
    this.#parts.bus.publish({
      type: "network",
      action: "lease",
      id: network?.id ?? "",
      attributes: { name: network?.spec.name ?? "", parent: lease.link, before: lease.address, after },
    });
  }

  /** Not when the same client has it again: then it is in use. */
  async #giveBack(lease: Lease): Promise<void> {
    const { store, lan, addresses } = this.#parts;
    const heirs = store
      .snapshot()
      .list("leases")
      .filter((other) => other.clientId === lease.clientId && other.endpointId !== lease.endpointId);
    if (heirs.length === 0 && !addresses.isUsed(lease.clientId)) lan.release(lease, lease);
    await store.update((tx) => tx.delete("leases", lease.endpointId));
  }

  /** Another address, when the server says so, is given to the running container. */
  async #renew(id: EndpointId): Promise<void> {
    const { store, lan, log } = this.#parts;
    const lease = store.snapshot().get("leases", id);
    if (lease === undefined || this.#end.signal.aborted) return;
    const isUnused = () => store.snapshot().get("endpoints", id)?.addresses.length === 0;
    const same = isUnused() ? undefined : await lan.renew(lease, lease.address);
    // What was not in use for a while may be another's by now: it is asked for like a new one.
    const given = same === undefined || isUnused() ? await this.#another(lease) : same;
    if (isUnused()) this.#tell({ ...lease, address: "" }, given.address);
    else if (given.address !== lease.address) {
      log.warn({ endpoint: id, before: lease.address, after: given.address }, "the DHCP server gave another address");
      this.#tell(lease, given.address);
    }
    let isKept = false;
    try {
      ({ result: isKept } = await store.update((tx) => writeRenewed(tx, { ...lease, ...given })));
    } finally {
      if (!isKept && given.address !== lease.address) lan.release(lease, given);
    }
  }

  async #another(lease: Lease): Promise<GivenAddress> {
    const { store, addresses } = this.#parts;
    const rows = store.snapshot();
    const network = networkOf(rows, lease);
    if (network === undefined) throw system(`the network of endpoint ${lease.endpointId} is gone`);
    return addresses.obtain(lease, network);
  }

  /** Half of what is left until the end of the lease, as RFC 2131 has it; past that, again and again. */
  #complain(id: EndpointId, error: unknown): void {
    if (this.#end.signal.aborted) return;
    this.#parts.log.warn({ err: error, endpoint: id }, "a lease could not be renewed: it is tried again");
    const lease = this.#parts.store.snapshot().get("leases", id);
    if (lease === undefined) return;
    this.#clear(id);
    const left = endOf(lease) - Date.now();
    this.#plan("renew", id, left > 0 ? Math.max(left / 2, soonest) : overdue);
    this.#plan("end", id, Math.max(left, shortest));
  }
}
