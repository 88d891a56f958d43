import { contains, lastOf, masked, type ParsedCidr, parseCidr } from "../lib/net.ts";
import type { Cidr } from "../model/ids.ts";
import type { HostRoute } from "../model/network.ts";
import type { Snapshot } from "../store/store.ts";

/** Routes that one node tells of at most: a row of the cluster has them. */
export const mostRoutes = 256;

/** Where networks mostly are: RFC 1918, RFC 6598, RFC 4193. */
const privateBlocks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].flatMap(
  (text) => parseCidr(text) ?? [],
);
const isPrivate = (block: ParsedCidr) => privateBlocks.some((one) => contains(one, block));
/** Every host has these (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3). */
const isLoopback = (to: Cidr) => to.startsWith("127.") || to === "::1/128";

/**
 * What of a host's routes the other nodes must know: networks of the swarm that overlap with them would hide what is behind
 * them. A route within another one says nothing more; of too many the private ones are told, and the wider ones.
 */
export function routesToTell(routes: readonly HostRoute[]): HostRoute[] {
  const blocks = routes
    .filter(({ to }) => !isLoopback(to))
    .flatMap((route) => {
      const block = parseCidr(route.to);
      return block === undefined ? [] : [{ route, block: masked(block) }];
    })
    .toSorted((a, b) => order(a.block, b.block));
  const widest: (typeof blocks)[number][] = [];
  for (const one of blocks) if (!covers(widest.at(-1)?.block, one.block)) widest.push(one);
  return widest
    .toSorted((a, b) => Number(isPrivate(b.block)) - Number(isPrivate(a.block)) || a.block.prefix - b.block.prefix)
    .slice(0, mostRoutes)
    .map(({ route }) => route);
}

/** By first address, the wider block first: so each stands behind the one that it is in. */
const order = (a: ParsedCidr, b: ParsedCidr) =>
  a.family - b.family || (a.number < b.number ? -1 : a.number > b.number ? 1 : a.prefix - b.prefix);
const covers = (wide: ParsedCidr | undefined, block: ParsedCidr) =>
  wide?.family === block.family && lastOf(wide) >= block.number;

/** What the nodes of a swarm route elsewhere, each prefix once, and whose it is. */
export function routesOfNodes(rows: Snapshot): { readonly to: Cidr; readonly name: string }[] {
  const found = new Map<Cidr, string>();
  for (const { hostname, routes = [] } of rows.list("nodes"))
    for (const { to, link } of routes)
      if (!found.has(to)) found.set(to, `node ${hostname}'s route ${to}${link === "" ? "" : ` on ${link}`}`);
  return [...found].map(([to, name]) => ({ to, name }));
}
