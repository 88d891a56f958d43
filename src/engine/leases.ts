import type { Lease } from "../model/lease.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Parts } from "./parts.ts";

const forEver = 0xffffffff;
const shortest = 1_000; // milliseconds until a renewal, whatever the server says
const soonest = 5_000; // milliseconds between two attempts to renew a lease
const latest = 2 ** 31 - 1; // milliseconds: the longest timer of Node

/**
 * Keeps what the LAN's DHCP servers gave: each lease is renewed at half its time (RFC 2131 section 4.4.5), and given back
 * when its endpoint is gone. All of it follows from rows, so a restart goes on where the last daemon ended.
 */
export class Leases {
  readonly #parts: Parts;
  readonly #timers = new Map<EndpointId, NodeJS.Timeout>();
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
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    if (lease === undefined) return;
    if (rows.get("endpoints", id) === undefined) return this.#giveBack(lease);
    if (lease.seconds === forEver) return;
    const due = lease.obtainedAt + lease.seconds * 500 - Date.now();
    this.#plan(id, Math.max(due, shortest));
  }

  #plan(id: EndpointId, pause: number): void {
    const renew = () => void this.#renew(id).catch((error: unknown) => this.#complain(id, error));
    this.#timers.set(id, setTimeout(renew, Math.min(pause, latest)));
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
    const { store, lan, bus, log } = this.#parts;
    const lease = store.snapshot().get("leases", id);
    if (lease === undefined || this.#end.signal.aborted) return;
    const given = (await lan.renew(lease, lease.address)) ?? (await lan.obtain(lease));
    if (given.address !== lease.address) {
      const rows = store.snapshot();
      const network = rows.get("networks", rows.get("endpoints", id)?.networkId ?? "");
      log.warn({ endpoint: id, before: lease.address, after: given.address }, "the DHCP server gave another address");
      bus.publish({
        type: "network",
        action: "lease",
        id: network?.id ?? "",
        attributes: { name: network?.spec.name ?? "", parent: lease.link, before: lease.address, after: given.address },
      });
    }
    const { result: isKept } = await store.update((tx) => {
      const endpoint = tx.get("endpoints", id);
      if (endpoint === undefined || tx.get("leases", id) === undefined) return false;
      tx.put("leases", { ...lease, ...given });
      const { address, prefix, gateway } = given;
      const [before] = endpoint.addresses;
      if (before?.address !== address || before.prefix !== prefix || before.gateway !== gateway)
        tx.put("endpoints", {
          ...endpoint,
          addresses: [{ address, prefix, ...(gateway !== undefined && { gateway }) }],
        });
      return true;
    });
    if (!isKept && given.address !== lease.address) lan.release(lease, given);
  }

  /** Half of what is left until the end of the lease, as RFC 2131 has it; past that, every minute. */
  #complain(id: EndpointId, error: unknown): void {
    if (this.#end.signal.aborted) return;
    this.#parts.log.warn({ err: error, endpoint: id }, "a lease could not be renewed: it is tried again");
    const lease = this.#parts.store.snapshot().get("leases", id);
    if (lease === undefined) return;
    const left = lease.obtainedAt + lease.seconds * 1000 - Date.now();
    this.#plan(id, left > 0 ? Math.max(left / 2, soonest) : 60_000);
  }
}
