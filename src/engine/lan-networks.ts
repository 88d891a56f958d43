import type { NetworkDriver } from "../drivers/driver.ts";
import { checkParent, checkShared, type ParentUse, type PlacedUse, vlanOf } from "../drivers/parent.ts";
import { invalid } from "../lib/errors.ts";
import { cidrText, contains, overlaps, parseAddress, parseCidr } from "../lib/net.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { IpAddress } from "../model/ids.ts";
import type { Network, NetworkSpec } from "../model/network.ts";
import type { Snapshot } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/** Where a network of a LAN driver is. */
export interface LanPlace {
  /** Absent: it has a segment of its own. */
  readonly use?: ParentUse;
  /** Bytes; absent: the parent's. */
  readonly mtu?: number;
  readonly reserved: readonly IpAddress[];
}

/** Undefined for networks of the host's own. */
export function lanPlace(driver: NetworkDriver, spec: NetworkSpec): LanPlace | undefined {
  if (driver.lan === undefined || spec.configOnly) return undefined;
  const options = driver.readOptions(spec);
  const use = driver.lan.parentOf(options);
  const mtu = driver.lan.mtu(options);
  return {
    reserved: driver.lan.reserved(options),
    ...(use !== undefined && { use }),
    ...(mtu !== undefined && { mtu }),
  };
}

/** The networks that stand on links of the host. */
const usesIn = (rows: Snapshot, drivers: Parts["drivers"]) =>
  rows.list("networks").flatMap((network) => {
    const use = placeOf(drivers, network)?.use;
    return use === undefined ? [] : [{ network, use }];
  });

function placeOf(drivers: Parts["drivers"], { spec }: Network): LanPlace | undefined {
  const driver = drivers.get(spec.driver);
  return driver && lanPlace(driver, spec);
}

/** The link of the host on whose LAN a network is. */
export const linkOf = (drivers: Parts["drivers"], network: Network): string | undefined =>
  placeOf(drivers, network)?.use?.link;

/** Whether the parent is there, or can be made. @throws {EngineError} invalid, with Docker's texts */
export function checkPlace(parts: Parts, place: LanPlace | undefined): void {
  if (place?.use === undefined) return;
  const { link } = place.use;
  for (const one of [link, vlanOf(link)?.parent ?? link]) {
    const name = parts.host.linkName(one);
    if (name !== undefined && name !== one) throw invalid(`-o parent: ${one} is another name of ${name}: use that`);
  }
  checkParent(place.use, (one) => parts.host.linkName(one) !== undefined);
  const base = parts.host.linkName(link) === undefined ? vlanOf(link)?.parent : link;
  const most = parts.host.linkMtu(base ?? link);
  if (place.mtu !== undefined && most !== undefined && place.mtu > most)
    throw invalid(`com.docker.network.driver.mtu ${place.mtu} is more than the ${most} bytes of the parent ${base}`);
}

/** Whether a network may be where it wants to be, beside the others. @throws {EngineError} invalid, naming the other */
export function checkNeighbours(rows: Snapshot, drivers: Parts["drivers"], place: LanPlace | undefined): void {
  const { use } = place ?? {};
  if (use === undefined) return;
  const others = usesIn(rows, drivers).flatMap(({ network, use: other }): PlacedUse[] =>
    other.link === use.link ? [{ ...other, network: network.id }] : [],
  );
  checkShared(use, others);
}

/**
 * The host has one route to an address: containers of two LANs to which it has routes must not have the same.
 * @throws {EngineError} invalid, naming the other
 */
export function checkHostRoutes(
  rows: Snapshot,
  drivers: Parts["drivers"],
  place: LanPlace | undefined,
  pools: readonly AddressPool[],
): void {
  if (place?.use?.hostRoutes !== true) return;
  const own = pools.flatMap(({ subnet }) => parseCidr(subnet) ?? []);
  for (const { network, use: other } of usesIn(rows, drivers)) {
    if (!other.hostRoutes || other.link === place.use.link) continue;
    const there = rows.where("pools", "network", network.id).flatMap(({ subnet }) => parseCidr(subnet) ?? []);
    const both = there.find((block) => own.some((one) => overlaps(one, block)));
    if (both !== undefined)
      throw invalid(
        `conflicting options: host_access: network ${network.spec.name} on ${other.link} has it too, and ${cidrText(both)}: the host cannot have routes to the same addresses on two LANs`,
      );
  }
}

/** What keeps the host from containers to which it has routes: an address of its own among them is missing. */
export function accessTrouble(
  { drivers, host }: Pick<Parts, "drivers" | "host">,
  network: Network,
  pools: readonly AddressPool[],
): readonly string[] | undefined {
  const place = placeOf(drivers, network);
  const link = place?.use?.hostRoutes === true && place.reserved.length === 0 ? place.use.link : undefined;
  if (link === undefined || host.linkState(link) === "gone") return undefined;
  const own = host.addresses().flatMap((one) => (one.link === link ? (parseAddress(one.address) ?? []) : []));
  const blocks = pools.flatMap(({ subnet }) => parseCidr(subnet) ?? []);
  if (blocks.some((block) => own.some((address) => contains(block, address)))) return undefined;
  const subnets = pools.map(({ subnet }) => subnet).join(", ");
  return [
    `host_access: ${link} has no address in ${subnets}, so the host and its containers do not reach each other; give it one, or the network a host_address`,
  ];
}

/** `--ipam-driver dhcp`: the LAN's server gives the addresses. @throws {EngineError} invalid, with the reason */
export function checkLeases(driver: NetworkDriver, spec: NetworkSpec, place: LanPlace | undefined): void {
  const no = (why: string) => invalid(`ipam driver dhcp: ${why}`);
  if (place?.use === undefined || driver.lan === undefined)
    throw no("it needs a network on a LAN, like -d macvlan -o parent=eth0");
  if (!driver.lan.ownMacs(driver.readOptions(spec)))
    throw no(
      `containers of this ${spec.driver} network have the MAC of the parent, so a server cannot tell them apart`,
    );
  if (spec.ipv6) throw no("only IPv4 addresses are asked for; leave --ipv6 out");
  if (spec.ipam.subnets.some((s) => s.subnet || s.range || s.gateway))
    throw no("the server knows subnet, range and gateway; leave --subnet, --ip-range and --gateway out");
  const [key] = Object.keys(spec.ipam.options);
  if (key !== undefined) throw no(`unknown option "${key}"`);
}
