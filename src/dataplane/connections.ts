import type { Kernel } from "../kernel/kernel.ts";
import { contains, parseAddress, parseCidr } from "../lib/net.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { IpAddress, NetworkId } from "../model/ids.ts";
import { changesOf } from "../store/changes.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import { placeOf, placeOn } from "../store/tables.ts";
import { clientsOn } from "./service-views.ts";

type KernelPart = Pick<Kernel, "answering" | "forgetConnections">;
type Member = Pick<Endpoint, "networkId" | "addresses">;
const addressesOf = ({ addresses }: Member) => addresses.map(({ address }) => address);

/**
 * Connections to tasks that are gone. Connection tracking would go on sending them there: forgotten, a datagram goes to another
 * task, and a segment of TCP too, which resets it. A task that only gets no new ones keeps those it has: it is gone with
 * its endpoint or its node, not with its backend.
 */
export class Connections {
  readonly #kernel: KernelPart;
  /** Where tasks are that get no new connections any more, as long as they are there. */
  readonly #former = new Set<string>();

  constructor(kernel: KernelPart) {
    this.#kernel = kernel;
  }

  /** After the kernel has got what a commit means: what is forgotten before would go the old way again. @throws {KernelError} */
  follow(before: Snapshot, commit: Commit): void {
    for (const { old, row } of changesOf("backends", before, commit))
      if (old !== undefined && row === undefined) this.#takeOut(placeOn(old.networkId, old.addresses), commit.snapshot);
      else if (row?.isLost === true) this.#forget(commit.snapshot, row.networkId, row.addresses);
    const changes = [...changesOf("endpoints", before, commit), ...changesOf("peers", before, commit)];
    const gone = changes.flatMap(({ old, row }): Member[] => {
      const place = old && placeOf(old);
      if (old === undefined || place === undefined || (row !== undefined && placeOf(row) === place)) return [];
      return this.#former.delete(place) || before.where("backends", "place", place).length > 0 ? [old] : [];
    });
    for (const [network, members] of Map.groupBy(gone, ({ networkId }) => networkId))
      this.#forget(commit.snapshot, network, members.flatMap(addressesOf));
  }

  /** One whose endpoint went before has no connections any more. */
  #takeOut(place: string, rows: Snapshot): void {
    const isThere = (["endpoints", "peers"] as const).some((table) => rows.where(table, "place", place).length > 0);
    if (isThere) this.#former.add(place);
  }

  #forget(rows: Snapshot, network: NetworkId, addresses: readonly IpAddress[]): void {
    for (const { sandboxId } of clientsOn(rows, network))
      this.#kernel.forgetConnections(`sandbox:${sandboxId}`, addresses);
  }

  /** At start: tasks may have gone while nobody looked. @throws {KernelError} */
  sweep(rows: Snapshot): void {
    for (const { id } of rows.list("networks"))
      if (rows.where("virtualServices", "network", id).length > 0) this.#sweepNetwork(rows, id);
  }

  #sweepNetwork(rows: Snapshot, network: NetworkId): void {
    const pools = rows.where("pools", "network", network).flatMap(({ subnet }) => parseCidr(subnet) ?? []);
    const members = (["endpoints", "peers"] as const).flatMap((table) => rows.where(table, "network", network));
    const lost = rows.where("backends", "network", network).filter(({ isLost }) => isLost === true);
    const known = new Set(members.flatMap(addressesOf));
    for (const address of lost.flatMap(({ addresses }) => addresses)) known.delete(address);
    for (const { sandboxId } of clientsOn(rows, network)) {
      const gone = this.#kernel.answering(`sandbox:${sandboxId}`).filter((address) => {
        const parsed = parseAddress(address);
        return !known.has(address) && parsed !== undefined && pools.some((pool) => contains(pool, parsed));
      });
      if (gone.length > 0) this.#kernel.forgetConnections(`sandbox:${sandboxId}`, gone);
    }
  }
}
