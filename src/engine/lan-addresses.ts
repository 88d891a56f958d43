import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { OnLan } from "../drivers/driver.ts";
import { nextFree } from "../ipam/claim.ts";
import { forbidden, invalid, system } from "../lib/errors.ts";
import { localMac } from "../lib/mac.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { IpAddress, MacAddress, NetworkId } from "../model/ids.ts";
import type { GivenAddress, LeaseRequest } from "../model/lease.ts";
import type { Network, NetworkSpec } from "../model/network.ts";
import type { Claim } from "../model/peer.ts";
import type { Snapshot } from "../store/store.ts";
import { networkNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";

/** What an endpoint gets that had to be found out before its row can be written. */
export interface Prepared {
  /** "" when it has its parent's. */
  readonly mac: MacAddress;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly lease?: LeaseRequest & GivenAddress;
  /** What a manager has claimed on a network of the cluster. */
  readonly claim?: Claim;
  /** How many containers the network may have at a time. */
  readonly most?: number;
}
const remembered = 60_000; // milliseconds for which an address that somebody on the LAN has is not asked for again
const patience = 16; // addresses that others have, one after the other, until something is wrong with the LAN
const fresh = 300; // milliseconds for which an answer counts
const declines = 3; // leases for addresses that others have, one after the other
const carrierPatience = 2000; // milliseconds: a link that has just come up hears nobody yet

/** A network on a LAN: its driver, its options as that reads them, and the host's link there, if it has one. */
interface Place {
  readonly lan: OnLan<unknown>;
  readonly options: unknown;
  readonly link: string | undefined;
}

interface Question {
  readonly at: number;
  readonly holder: Promise<MacAddress | undefined>;
}

/**
 * Addresses on LANs that are not ours alone: asked for on the wire before they are used, or given by the LAN's DHCP
 * server. What is being asked for is kept from other containers meanwhile.
 */
export class LanAddresses {
  readonly #parts: Omit<Parts, "addresses" | "overlays">;
  readonly #reserved = new Set<string>();
  /** Addresses that containers which are being started ask for by name. */
  readonly #wished = new Set<string>();
  readonly #foreign = new Map<string, number>();
  /** What was asked on LANs a moment ago. */
  readonly #asked = new Map<string, Question>();
  /** Client ids of leases that are being got or written. */
  readonly #clients = new Set<string>();

  constructor(parts: Omit<Parts, "addresses" | "overlays">) {
    this.#parts = parts;
  }

  /** True while a container is about to use the lease of this client. */
  isUsed(clientId: string): boolean {
    return this.#clients.has(clientId);
  }

  /**
   * Prepares the endpoints, one for each attachment, for `commit` to write their rows; afterwards nothing is kept for them
   * any more. @throws {EngineError} what the LAN, the network or its pools say
   */
  async prepared<R>(
    container: Container,
    attachments: readonly Attachment[],
    commit: (of: readonly Prepared[]) => Promise<R>,
  ): Promise<R> {
    const kept: Kept = { addresses: [], wished: [], clients: [], leases: [] };
    try {
      return await commit(await allOf(attachments.map((one) => this.#prepareOne(container, one, kept))));
    } catch (error) {
      for (const lease of kept.leases) this.#parts.lan.release(lease, lease);
      throw error;
    } finally {
      for (const key of kept.addresses) this.#reserved.delete(key);
      for (const key of kept.wished) this.#wished.delete(key);
      for (const client of kept.clients) this.#clients.delete(client);
    }
  }

  async #prepareOne(container: Container, attachment: Attachment, kept: Kept): Promise<Prepared> {
    const rows = this.#parts.store.snapshot();
    const network = networkNamed(rows, attachment.network);
    // The same MAC after every start: switches, leases and licences of the LAN may go by it.
    const mac = attachment.mac ?? localMac(`${network.id} ${container.id}`);
    const place = this.#placeOf(network);
    if (place === undefined) return { mac };
    const { lan, options, link } = place;
    if (attachment.mac !== undefined && !lan.ownMacs(options))
      throw invalid(
        `${network.spec.driver} interfaces do not support custom mac address assignment: ${network.spec.name} uses the parent's`,
      );
    const most = lan.mostEndpoints(options);
    const common = { mac: lan.ownMacs(options) ? mac : "", ...(most !== undefined && { most }) };
    if (link === undefined) return common;
    if (network.spec.ipam.driver === "dhcp")
      return { ...common, lease: await this.#lease(container, network, { link, mac }, kept) };
    if (!(await this.#canAsk(place))) return common;
    const [ipv4, ipv6] = await allOf(
      ([4, 6] as const).map((family) => this.#free(rows, network, link, family, attachment, kept)),
    );
    return { ...common, ...(ipv4 !== undefined && { ipv4 }), ...(ipv6 !== undefined && { ipv6 }) };
  }

  /** Undefined for networks of the host's own. */
  #placeOf({ spec }: Pick<Network, "spec">): Place | undefined {
    const driver = this.#parts.drivers.get(spec.driver);
    if (driver?.lan === undefined || spec.configOnly) return undefined;
    const options = driver.readOptions(spec);
    return { lan: driver.lan, options, link: driver.lan.parentOf(options)?.link };
  }

  /** Whether addresses are asked for on the LAN, and can be now. */
  #isAsked({ lan, options, link }: Place): boolean {
    return link !== undefined && lan.addressProbe(options) && this.#parts.host.linkState(link) === "up";
  }

  async #canAsk(place: Place): Promise<boolean> {
    const { link, lan, options } = place;
    if (link === undefined || !lan.addressProbe(options)) return false;
    await this.#awake(link);
    return this.#isAsked(place);
  }

  /** A link that is down is brought up; one that has just come up gets time to find its carrier. */
  async #awake(link: string): Promise<void> {
    const { host, dataplane } = this.#parts;
    if (host.linkState(link) === "down") dataplane.bringUp(link);
    for (let waited = 0; waited < carrierPatience && host.linkState(link) === "no carrier"; waited += 50)
      await sleep(50);
  }

  /** Addresses that a network to be made takes for the host, and that the host does not have yet. */
  newHostAddresses(spec: NetworkSpec): readonly IpAddress[] {
    const place = this.#placeOf({ spec });
    return place?.lan.reserved(place.options).filter((address) => !this.#isOwn(address)) ?? [];
  }

  /**
   * Asks for them, once the network is there and its parent up. By then the host has them, and a second link of it on that
   * LAN may answer (ip-sysctl, arp_ignore=0). @throws {EngineError} forbidden, by the MAC of who has one
   */
  async checkHostAddresses(spec: NetworkSpec, wished: readonly IpAddress[]): Promise<void> {
    const place = this.#placeOf({ spec });
    const link = place?.link;
    if (place === undefined || link === undefined || wished.length === 0 || !(await this.#canAsk(place))) return;
    await allOf(
      wished.map(async (address) => {
        const holder = await this.#ask(link, address);
        if (holder !== undefined && !this.#parts.host.hasMac(holder)) throw forbidden(inUse(address, holder, link));
      }),
    );
  }

  /** The wished address, or a free one, that nobody on the LAN has; undefined when the network has none of the family. */
  async #free(
    rows: Snapshot,
    network: Network,
    link: string,
    family: 4 | 6,
    wish: Attachment,
    kept: Kept,
  ): Promise<IpAddress | undefined> {
    const pools = rows.where("pools", "network", network.id).filter((p) => p.subnet.includes(":") === (family === 6));
    const wished = family === 4 ? wish.ipv4 : wish.ipv6;
    if (pools.length === 0) return undefined;
    if (wished !== undefined) {
      this.#wished.add(keyOf(network.id, wished));
      kept.wished.push(keyOf(network.id, wished));
      if (this.#isOwn(wished)) throw forbidden(`Address already in use: ${wished} is this host's own`);
      const holder = await this.#ask(link, wished);
      if (holder !== undefined) throw forbidden(inUse(wished, holder, link));
      return wished;
    }
    const found: string[] = [];
    while (found.length < patience) {
      const address = this.#candidate(pools, network.id, kept);
      const holder = await this.#holderOf(link, address);
      if (holder === undefined && !this.#wished.has(keyOf(network.id, address))) return address;
      if (holder === undefined) continue; // another container asks for it by --ip meanwhile
      this.#foreign.set(keyOf(network.id, address), Date.now() + remembered);
      found.push(`${address} belongs to ${holder}`);
    }
    throw system(
      `no free address found: on the LAN of ${link}, ${found.length} addresses that were asked for belong to others (the last: ${found.at(-1)}); a proxy that answers for all? -o address_probe=false does not ask`,
    );
  }

  /** Who has an address, in words; undefined when nobody has. */
  async #holderOf(link: string, address: IpAddress): Promise<string | undefined> {
    return this.#isOwn(address) ? "this host" : this.#ask(link, address);
  }

  #ask(link: string, address: IpAddress): Promise<MacAddress | undefined> {
    const now = Date.now();
    for (const [key, { at }] of this.#asked) if (now - at > fresh) this.#asked.delete(key);
    const key = `${link}|${address}`;
    const known = this.#asked.get(key);
    if (known !== undefined) return known.holder;
    const holder = this.#parts.lan.probe(link, address);
    this.#asked.set(key, { at: now, holder });
    return holder;
  }

  /**
   * Asks for the addresses that a container will most likely get, for it is made now and started next: the answer is
   * there when it is wanted. Nothing is kept for it.
   */
  expect({ attachments }: Container): void {
    const rows = this.#parts.store.snapshot();
    for (const { network: name, ipv4, ipv6 } of attachments) {
      const network = rows.list("networks").find((one) => one.id === name || one.spec.name === name);
      const place = network && this.#placeOf(network);
      if (network === undefined || place?.link === undefined || !this.#isAsked(place)) continue;
      const { link } = place;
      const likely = rows.where("pools", "network", network.id).flatMap((pool) => this.#likely(rows, network.id, pool));
      const wished = [ipv4, ipv6].filter((one) => one !== undefined);
      for (const address of wished.length > 0 ? wished : likely) this.#ask(link, address).catch(() => {}); // the start will be told
    }
  }

  #likely(rows: Snapshot, network: NetworkId, pool: AddressPool): IpAddress[] {
    try {
      return [nextFree(rows, pool, (address) => this.#isTaken(network, address))];
    } catch {
      return []; // full: the start will be told
    }
  }

  #isTaken(network: NetworkId, address: IpAddress): boolean {
    const key = keyOf(network, address);
    return this.#reserved.has(key) || this.#wished.has(key) || this.#foreign.has(key);
  }

  #candidate(pools: readonly AddressPool[], network: NetworkId, kept: Kept): IpAddress {
    const now = Date.now();
    for (const [key, until] of this.#foreign) if (until < now) this.#foreign.delete(key);
    let failure: unknown;
    for (const pool of pools) {
      try {
        const address = nextFree(this.#parts.store.snapshot(), pool, (one) => this.#isTaken(network, one));
        this.#reserved.add(keyOf(network, address));
        kept.addresses.push(keyOf(network, address));
        return address;
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }

  /** The host does not answer itself. */
  #isOwn(address: IpAddress): boolean {
    return this.#parts.host.hasAddress(address);
  }

  async #lease(
    container: Container,
    network: Network,
    at: Pick<LeaseRequest, "link" | "mac">,
    kept: Kept,
  ): Promise<LeaseRequest & GivenAddress> {
    const clientId = createHash("sha256").update(`${container.id} ${network.id}`).digest("hex").slice(0, 32);
    const request = { ...at, clientId, hostname: container.spec.hostname };
    this.#clients.add(clientId);
    kept.clients.push(clientId);
    const lease = { ...request, ...(await this.obtain(request, network)) };
    kept.leases.push(lease);
    return lease;
  }

  /**
   * Gets an address that nobody else on the LAN has from its DHCP server; what somebody has is declined (RFC 2131 section
   * 3.1, step 5). @throws {EngineError} system, with the reason
   */
  async obtain(request: LeaseRequest, network: Network): Promise<GivenAddress> {
    const { lan } = this.#parts;
    const place = this.#placeOf(network);
    await this.#awake(request.link);
    let found = "";
    for (let tries = 0; tries < declines; tries += 1) {
      const given = await lan.obtain(request);
      if (place === undefined || !(await this.#canAsk(place))) return given;
      const holder = await this.#holderOf(request.link, given.address);
      if (holder === undefined) return given;
      lan.decline(request, given);
      found = `${given.address} belongs to ${holder}`;
    }
    throw system(
      `the DHCP server on ${request.link} gave ${declines} times what others on the LAN have (the last: ${found}); -o address_probe=false does not ask`,
    );
  }

  /** Tells the LANs of a container's networks where its addresses are. */
  announce(container: Container["id"]): void {
    const rows = this.#parts.store.snapshot();
    for (const endpoint of rows.where("endpoints", "sandbox", container)) {
      const network = rows.get("networks", endpoint.networkId);
      const place = network && this.#placeOf(network);
      if (place?.link === undefined) continue;
      const addresses = endpoint.addresses.map(({ address }) => address);
      this.#parts.lan.announce(
        place.link,
        endpoint.mac || undefined,
        addresses,
        place.lan.announcements(place.options),
      );
    }
  }
}

/** All results, or the first refusal: when all have ended, so that nothing is begun after that. */
async function allOf<T>(all: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(all);
  return Promise.all(all);
}

/** What a preparation holds until its end. */
interface Kept {
  readonly addresses: string[];
  readonly wished: string[];
  readonly clients: string[];
  readonly leases: (LeaseRequest & GivenAddress)[];
}

const keyOf = (network: NetworkId, address: IpAddress) => `${network}|${address}`;
const inUse = (address: IpAddress, holder: MacAddress, link: string) =>
  `Address already in use: ${address} belongs to ${holder} on the LAN of ${link} (asked there; -o address_probe=false does not ask)`;
