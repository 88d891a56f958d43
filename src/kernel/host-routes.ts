import type { HostRoute } from "../model/network.ts";
import { readMark } from "./mark.ts";
import { addressText } from "../lib/address-bytes.ts";
import { maskBits, splitCidr } from "./netlink/attributes.ts";
import type { Realm } from "./realms.ts";

/** Routes and subnets of addresses on links that are not this engine's; default routes overlap everything and are left out. */
export function hostRoutes(realm: Realm, engine: string): HostRoute[] {
  const foreign = new Map(
    realm
      .links()
      .filter((link) => readMark(link.alias)?.engine !== engine)
      .map((link) => [link.index, link.name]),
  );
  const addresses = realm.addresses().map(({ index, address }) => ({ index, to: subnetOf(address) }));
  const routes = realm.routes().filter(({ to, table }) => table === undefined && !to.endsWith("/0"));
  const found = [...addresses, ...routes].flatMap(({ index, to }): HostRoute[] => {
    const link = index === 0 ? "" : foreign.get(index);
    return link === undefined ? [] : [{ to, link }];
  });
  return [...new Map(found.map((route) => [`${route.to} ${route.link}`, route])).values()];
}

function subnetOf(cidr: string): string {
  const { address, prefix } = splitCidr(cidr);
  return `${addressText(maskBits(address, prefix, 0))}/${prefix}`;
}
