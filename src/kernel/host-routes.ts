import type { HostRoute } from "../model/network.ts";
import { readMark } from "./mark.ts";
import { addressText } from "../lib/address-bytes.ts";
import { maskBits, splitCidr } from "./netlink/attributes.ts";
import type { Realm } from "./realms.ts";

/**
 * Routes and subnets of addresses on links that are not this engine's. Left out is what is in nobody's way: default routes
 * and the halves that VPNs split them into, which cover everybody, and link-local and multicast blocks.
 */
export function hostRoutes(realm: Realm, engine: string): HostRoute[] {
  const addresses = realm.addresses().map(({ index, address }) => ({ index, to: subnetOf(address) }));
  const routes = realm.routes().filter(({ table, unreachable }) => table === undefined && !unreachable);
  const some = [...addresses, ...routes].filter(({ to }) => !/\/[01]$|^fe[89ab]|^ff/.test(to));
  // One by one: on most hosts they are a few among all the ends of containers' cables.
  const names = new Map(
    [...new Set(some.map(({ index }) => index))].map((index) => [index, foreign(realm, index, engine)]),
  );
  const found = some.flatMap(({ index, to }): HostRoute[] => {
    const link = names.get(index);
    return link === undefined ? [] : [{ to, link }];
  });
  return [...new Map(found.map((route) => [`${route.to} ${route.link}`, route])).values()];
}

/** @returns the name of a link that is not ours, "" for a route with several next hops */
function foreign(realm: Realm, index: number, engine: string): string | undefined {
  const link = index === 0 ? { name: "", alias: undefined } : realm.link({ index });
  return link !== undefined && readMark(link.alias)?.engine !== engine ? link.name : undefined;
}

function subnetOf(cidr: string): string {
  const { address, prefix } = splitCidr(cidr);
  return `${addressText(maskBits(address, prefix, 0))}/${prefix}`;
}
