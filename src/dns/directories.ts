import { Multimap } from "../lib/multimap.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { IpAddress, NetworkId } from "../model/ids.ts";
import type { Peer } from "../model/peer.ts";
import type { VirtualService } from "../model/service.ts";
import { changesOf } from "../store/changes.ts";
import type { Commit, Snapshot } from "../store/store.ts";

/** A container on a network: on this host, or on another one. */
export type Member = Endpoint | Peer;

/** One network's. Names and addresses are the rows' own strings: there may be ten thousands. */
class Directory {
  /** By name in lower case (RFC 4343). */
  readonly names = new Multimap<string, Member>();
  readonly addresses = new Multimap<IpAddress, Member>();
}

/** Who has which name and address on each network, containers and services, kept up row by row: a change costs what it changed. */
export class Directories {
  readonly #networks = new Map<NetworkId, Directory>();
  /** By network and name, in lower case. */
  readonly #services = new Multimap<string, VirtualService>();
  #before: Snapshot | undefined;

  /** Takes note of a store's commits, each in its turn; the first one has every row. */
  follow(commit: Commit): void {
    for (const table of ["endpoints", "peers"] as const)
      for (const { old, row } of changesOf(table, this.#before, commit)) {
        if (old !== undefined) this.#note(old, "delete");
        if (row !== undefined) this.#note(row, "add");
      }
    for (const { old, row } of changesOf("virtualServices", this.#before, commit)) {
      if (old !== undefined) this.#noteService(old, "delete");
      if (row !== undefined) this.#noteService(row, "add");
    }
    this.#before = commit.snapshot;
  }

  /** @param name in lower case */
  named(network: NetworkId, name: string): readonly Member[] {
    return this.#networks.get(network)?.names.values(name) ?? [];
  }
  /** Services of a name or an alias. @param name in lower case */
  services(network: NetworkId, name: string): readonly VirtualService[] {
    return this.#services.values(`${network}|${name}`);
  }
  at(network: NetworkId, address: IpAddress): readonly Member[] {
    return this.#networks.get(network)?.addresses.values(address) ?? [];
  }

  #noteService(service: VirtualService, verb: "add" | "delete"): void {
    for (const name of [service.name, ...service.aliases])
      this.#services[verb](`${service.networkId}|${name.toLowerCase()}`, service);
  }

  #note(member: Member, verb: "add" | "delete"): void {
    const { networkId } = member;
    const directory = this.#networks.getOrInsertComputed(networkId, () => new Directory());
    for (const name of member.names) directory.names[verb](name.toLowerCase(), member);
    for (const { address } of member.addresses) directory.addresses[verb](address, member);
    if (directory.names.isEmpty && directory.addresses.isEmpty) this.#networks.delete(networkId);
  }
}
