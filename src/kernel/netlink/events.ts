import type { NamespaceName } from "../../model/plan.ts";
import type { KernelEvent } from "../kernel.ts";
import { table } from "../nft/listing.ts";
import { addressTypes, readAddress } from "./addresses.ts";
import { decodeAttributes, readText } from "./attributes.ts";
import { linkTypes } from "./link-words.ts";
import { readLink } from "./links.ts";
import { decodeMessages } from "./message.ts";
import { neighbourTypes } from "./neighbour-words.ts";
import { isForwarding, readForwarding, readNeighbour } from "./neighbours.ts";
import { ourProtocol } from "./protocol.ts";
import { readRoute, routeTypes } from "./routes.ts";
import { readTunnel } from "./tunnels.ts";

/** RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF. */
export const routeGroups = [1, 3, 5, 7, 9, 11, 24, 25] as const;
/** NFNLGRP_NFTABLES. */
export const nftGroups = [7] as const;
const newNetconf = 80; // RTM_NEWNETCONF

type Named = Exclude<KernelEvent, { kind: "lost" }>;
type Told = Omit<Named, "namespace">;

/** Reads rtnetlink messages; `names` has the links of the namespace by index and is kept up to date. */
export function readRouteEvents(
  bytes: Buffer,
  names: Map<number, string>,
  namespace: NamespaceName = "host",
): KernelEvent[] {
  const told = decodeMessages(bytes).flatMap((answer) =>
    answer.kind === "message" ? readOne(answer.type, answer.body, names) : [],
  );
  return told.map(({ kind, name }) => ({ kind, namespace, name }));
}

function readOne(type: number, body: Buffer, names: Map<number, string>): Told[] {
  const on = (kind: Named["kind"], index: number | undefined): Told[] =>
    index === undefined ? [] : [{ kind, name: names.get(index) ?? "" }];
  switch (type) {
    case linkTypes.new:
    case linkTypes.del:
      return readLinkEvent(type, body, names);
    case addressTypes.new:
    case addressTypes.del:
      return on("address", readAddress(body).index);
    case routeTypes.new:
    case routeTypes.del:
      return on("route", readRoute(body)?.index);
    case neighbourTypes.new:
    case neighbourTypes.del:
      if (!isForwarding(body)) return on("neighbour", ourNeighbour(body));
      return [...on("forwarding", readForwarding(body)?.index), ...on("tunnel", readTunnel(body)?.index)];
    case newNetconf:
      return readNetconf(body, names);
    default:
      return [];
  }
}

/** A link that got another name is told under both. */
function readLinkEvent(type: number, body: Buffer, names: Map<number, string>): Told[] {
  const { index, name } = readLink(body);
  const before = names.get(index);
  // A port that leaves its bridge is told as a deletion of family AF_BRIDGE: the link itself stays.
  if (type === linkTypes.new) names.set(index, name);
  else if (body.readUInt8(0) === 0) names.delete(index);
  const both = new Set([before, name].filter((one) => one !== undefined && one !== ""));
  return [...both].map((one) => ({ kind: "link", name: one ?? "" }));
}

/** Others come and go with every ARP answer. */
function ourNeighbour(body: Buffer): number | undefined {
  const found = readNeighbour(body);
  return found?.protocol === ourProtocol ? found.index : undefined;
}

/** Some sysctls tell when they change: forwarding among them. Index -1 is `all`, -2 `default`. */
function readNetconf(body: Buffer, names: ReadonlyMap<number, string>): Told[] {
  const a = decodeAttributes(body.subarray(4));
  const index = a.get(1)?.readInt32LE(0); // NETCONFA_IFINDEX
  if (index === undefined || !a.has(2)) return []; // NETCONFA_FORWARDING
  const link = index === -1 ? "all" : index === -2 ? "default" : names.get(index)?.replaceAll(".", "/");
  // A link that is just being made tells its defaults before its name.
  if (link === undefined) return [];
  return [{ kind: "sysctl", name: `net.${body.readUInt8(0) === 2 ? "ipv4" : "ipv6"}.conf.${link}.forwarding` }];
}

/** NFT_MSG_* of subsystem 10 (include/uapi/linux/netfilter/nf_tables.h), by what they tell and where the name is. */
const nftMessages = new Map<number, readonly [kind: "chain" | "element", nameAttribute: number]>([
  [0, ["chain", 1]], // NEWTABLE
  [2, ["chain", 1]],
  [3, ["chain", 3]], // NEWCHAIN
  [5, ["chain", 3]],
  [6, ["chain", 2]], // NEWRULE
  [8, ["chain", 2]],
  [9, ["element", 2]], // NEWSET
  [11, ["element", 2]],
  [12, ["element", 2]], // NEWSETELEM
  [14, ["element", 2]],
]);
const subsystem = 10; // NFNL_SUBSYS_NFTABLES

/** Changes of our tables in a namespace, by the name of the chain, set or map (`tombolo` for a table itself). */
export function readNftEvents(bytes: Buffer, namespace: NamespaceName = "host"): KernelEvent[] {
  return decodeMessages(bytes).flatMap((answer) => {
    if (answer.kind !== "message" || answer.type >> 8 !== subsystem) return [];
    const known = nftMessages.get(answer.type & 0xff);
    const a = decodeAttributes(answer.body.subarray(4)); // struct nfgenmsg
    if (known === undefined || readText(a.get(1)) !== table) return [];
    const [kind, attribute] = known;
    const name = readText(a.get(attribute)) ?? "";
    // Sets without a name are part of their rule, which is told too.
    return name.startsWith("__") ? [] : [{ kind, namespace, name }];
  });
}
