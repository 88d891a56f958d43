import type { NetworkId } from "../model/ids.ts";
import type { Segment } from "../model/lan.ts";
import type { Owner } from "../model/plan.ts";
import { type Changed, changesOf } from "../store/changes.ts";
import type { Snapshot } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/** Milliseconds after which Linux has forgotten a neighbour that it does not talk to, and more (arp(7), gc_stale_time). */
const remembered = 600_000;

/** What an endpoint, here or on another host, has in common with others. */
interface Holder {
  readonly networkId: NetworkId;
  readonly mac: string;
  readonly addresses: readonly { readonly address: string }[];
}

/**
 * An address that goes to another container comes with another MAC: those who have talked with the old one are told, once the
 * kernel has the new one.
 */
export class MovedAddresses {
  readonly #parts: Pick<Parts, "store" | "dataplane" | "drivers" | "lan">;
  readonly #left = new Map<string, { readonly mac: string; readonly until: number }>();
  readonly #stopped = new AbortController();

  constructor(parts: Pick<Parts, "store" | "dataplane" | "drivers" | "lan">) {
    this.#parts = parts;
  }

  start(): void {
    void this.#watch();
  }
  stop(): void {
    this.#stopped.abort();
  }

  async #watch(): Promise<void> {
    let before: Snapshot | undefined;
    for await (const commit of this.#parts.store.watch(this.#stopped.signal)) {
      if (before !== undefined) {
        const [endpoints, peers] = [changesOf("endpoints", before, commit), changesOf("peers", before, commit)];
        for (const { old, row } of [...endpoints, ...peers])
          if (old !== undefined && row === undefined) this.#remember(old);
        for (const change of endpoints) this.#look(change, `endpoint:${change.key}`, commit.snapshot);
        for (const change of peers) this.#look(change, `peer:${change.key}`, commit.snapshot);
      }
      before = commit.snapshot;
    }
  }

  #look({ old, row }: Changed<"endpoints" | "peers">, owner: Owner, after: Snapshot): void {
    if (old !== undefined || row === undefined) return;
    const moved = row.addresses.filter(({ address }) => this.#isMoved(row, address));
    if (moved.length > 0) void this.#tell({ ...row, addresses: moved }, owner, after);
  }

  #remember({ networkId, mac, addresses }: Holder): void {
    const now = Date.now();
    for (const [key, { until }] of this.#left) {
      if (until > now) break; // they are in the order of their ends
      this.#left.delete(key);
    }
    for (const { address } of addresses) {
      const key = `${networkId}|${address}`;
      this.#left.delete(key);
      this.#left.set(key, { mac, until: now + remembered });
    }
  }

  #isMoved({ networkId, mac }: Holder, address: string): boolean {
    const key = `${networkId}|${address}`;
    const left = this.#left.get(key);
    this.#left.delete(key);
    return left !== undefined && left.mac !== mac && left.until > Date.now();
  }

  async #tell({ networkId, mac, addresses }: Holder, owner: Owner, rows: Snapshot): Promise<void> {
    const { store, dataplane, drivers, lan } = this.#parts;
    const network = rows.get("networks", networkId);
    const driver = network && drivers.get(network.spec.driver);
    if (network === undefined || driver?.segmentOf === undefined) return;
    let segment: Segment;
    try {
      segment = driver.segmentOf(network, driver.readOptions(network.spec));
      await dataplane.settled(owner, rows.revision);
    } catch {
      return; // the caller of the verb was told
    }
    const others = store.snapshot().where("endpoints", "network", networkId);
    const listeners = others.flatMap((other) => (other.mac === mac ? [] : [other.mac]));
    for (const { address } of addresses) lan.tellMoved(segment, { mac, address }, listeners);
  }
}
