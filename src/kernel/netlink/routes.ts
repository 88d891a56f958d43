import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import { type Attribute, decodeAttributes, familyNumber, readU32, splitCidr, u32 } from "./attributes.ts";
import { flags, type Message } from "./message.ts";
import { ourProtocol } from "./protocol.ts";

export const routeTypes = { new: 24, del: 25, get: 26 } as const;
const attribute = { destination: 1, link: 4, gateway: 5, metric: 6, source: 7, table: 15 } as const; // RTA_*
const mainTable = 254; // RT_TABLE_MAIN
const types = { unicast: 1, unreachable: 7 } as const; // RTN_*
const last = 0xffff_fffe; // metric: every other route is preferred
const loopback = 1; // index of `lo` in each namespace
const scope = { universe: 0, link: 253, nowhere: 255 } as const; // RT_SCOPE_*
const bodyLength = 12; // struct rtmsg

export interface RouteWish {
  readonly to: string;
  readonly via?: string;
  /** With which address of this host one speaks over the route. */
  readonly source?: string;
  /** Absent: the main one. */
  readonly table?: number;
  /** After all other routes: nothing goes there. */
  readonly unreachable?: true;
}
export interface RouteInfo extends RouteWish {
  /** Index of the link; 0 for a route with several next hops. */
  readonly index: number;
  readonly protocol: number;
}

/** A default route carries no destination. */
function message(type: number, flag: number, index: number, route: RouteWish, reach: number): Message {
  const { address, prefix } = splitCidr(route.to);
  // A route that leads nowhere has no link.
  const list: Attribute[] = [route.unreachable ? [attribute.metric, u32(last)] : [attribute.link, u32(index)]];
  if (prefix > 0) list.push([attribute.destination, address]);
  if (route.via !== undefined) list.push([attribute.gateway, addressBytes(route.via)]);
  if (route.source !== undefined) list.push([attribute.source, addressBytes(route.source)]);
  const { table = mainTable } = route;
  const kind = route.unreachable ? types.unreachable : types.unicast;
  const body = Buffer.from([familyNumber(address), prefix, 0, 0, table, ourProtocol, reach, kind, 0, 0, 0, 0]);
  return { type, flags: flag, body, attributes: list };
}

/** Refused with EEXIST where a route to the same destination is. */
export const addRoute = (index: number, { to }: Pick<RouteWish, "to">): Message =>
  message(routeTypes.new, flags.create | flags.exclusive, index, { to }, scope.link);

/** In place of another route to the same destination. */
export const putRoute = (index: number, route: RouteWish): Message =>
  message(
    routeTypes.new,
    flags.create | flags.replace,
    index,
    route,
    route.via === undefined && !route.unreachable ? scope.link : scope.universe,
  );

/** Only a route of ours over this very link and gateway goes. */
export const deleteRoute = (index: number, route: RouteWish): Message =>
  message(routeTypes.del, 0, index, route, scope.nowhere);

/** @param protocol absent: whoever made it */
export const dumpRoutes = (family: 2 | 10, protocol = 0): Message => ({
  type: routeTypes.get,
  flags: 0,
  body: Buffer.from([family, 0, 0, 0, 0, protocol, 0, 0, 0, 0, 0, 0]),
  attributes: [],
});

/** @returns undefined for what is neither an ordinary route nor one that leads nowhere */
export function readRoute(bytes: Buffer): RouteInfo | undefined {
  const unreachable = bytes.readUInt8(7) === types.unreachable;
  if (!unreachable && bytes.readUInt8(7) !== types.unicast) return undefined;
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const table = readU32(a.get(attribute.table)) ?? bytes.readUInt8(4);
  const destination = a.get(attribute.destination) ?? Buffer.alloc(bytes.readUInt8(0) === 2 ? 4 : 16);
  const gateway = a.get(attribute.gateway);
  const source = a.get(attribute.source);
  return {
    index: unreachable ? loopback : (readU32(a.get(attribute.link)) ?? 0),
    to: `${addressText(destination)}/${bytes.readUInt8(1)}`,
    ...(gateway !== undefined && { via: addressText(gateway) }),
    ...(source !== undefined && { source: addressText(source) }),
    ...(table !== mainTable && { table }),
    ...(unreachable && { unreachable }),
    protocol: bytes.readUInt8(5),
  };
}
