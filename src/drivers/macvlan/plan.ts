/*
 * The way of one packet
 *
 * Container A (10.3.1.145) to a machine of the LAN. A's eth0 is a macvlan: an interface with a MAC of its own on the
 * parent, say the host's eth0. A asks ARP for the machine, or for the router, which its default route names; the frame
 * leaves through the parent as it is, with A's MAC and address. No rule of the host sees it, no address is translated.
 * The answer comes to A's MAC; the parent's driver takes it in (the parent is promiscuous), and macvlan hands it to A.
 *
 * To container B on the same parent: in mode bridge macvlan hands the frame from A to B itself; in mode vepa it goes out
 * to the switch and comes back; in mode private it does not come.
 *
 * To the host: the parent and its macvlans never hear each other. With host_access the host has a macvlan of its own,
 * `mh-<id>`, and a route to each container through it; it answers ARP there for its own addresses.
 */
import { macFrom } from "../../lib/mac.ts";
import type { NetworkId } from "../../model/ids.ts";
import type { NamespaceName, PlanObject } from "../../model/plan.ts";
import type { EndpointView, NetworkView } from "../driver.ts";
import { defaultRoutes, familyOf, insideOf, interfaceObjects, sysctlName } from "../interface.ts";
import { planSegment, segmentName } from "../segment.ts";
import type { MacvlanOptions } from "./options.ts";

const host: NamespaceName = "host";
/** The host's own interface on the parent. */
const hostLinkName = (id: NetworkId) => `mh-${id.slice(0, 12)}`;

/** The segment of a network without a parent, or the host's own interface on the parent. */
export function planNetwork(view: NetworkView, options: MacvlanOptions): PlanObject[] {
  if (options.parent === undefined) return planSegment(view.network, "m", options.mtu);
  return options.hostAccess ? hostLink(view, options, options.parent) : [];
}

const sysctl = (link: string, key: string, value: string): PlanObject => ({
  kind: "sysctl",
  namespace: host,
  key: `net.ipv6.conf.${sysctlName(link)}.${key}`,
  value,
});

function hostLink({ network, pools }: NetworkView, options: MacvlanOptions, parent: string): PlanObject[] {
  const name = hostLinkName(network.id);
  const six = pools.some((pool) => familyOf(pool.subnet) === "ip6");
  return [
    {
      kind: "link",
      type: "macvlan",
      namespace: host,
      name,
      parent,
      mode: "bridge",
      mac: macFrom(network.id, "host"),
      ...(options.mtu !== undefined && { mtu: options.mtu }),
    },
    sysctl(name, "disable_ipv6", six ? "0" : "1"),
    sysctl(name, "accept_ra", "0"),
    // Without the subnet: the way to the LAN stays the parent's.
    ...options.hostAddresses.map(
      (address): PlanObject => ({
        kind: "address",
        namespace: host,
        link: name,
        address: `${address}/${familyOf(address) === "ip6" ? 128 : 32}`,
      }),
    ),
  ];
}

/** The container's interface, and the host's route to it. */
export function planEndpoint(view: EndpointView, options: MacvlanOptions): PlanObject[] {
  const { network, endpoint } = view;
  return [
    {
      kind: "link",
      type: "macvlan",
      namespace: insideOf(view),
      name: endpoint.interfaceName,
      parent: options.parent ?? segmentName("m", network.id),
      mode: options.mode,
      // In mode passthru the container has the parent's: another one would become the parent's.
      ...(options.mode !== "passthru" && { mac: endpoint.mac }),
      ...(options.mtu !== undefined && { mtu: options.mtu }),
    },
    ...interfaceObjects(view),
    ...defaultRoutes(view),
    ...(options.hostAccess ? hostRoutes(view, options) : []),
  ];
}

/** Without an address of its own there the host speaks with the parent's. */
function hostRoutes({ network, endpoint }: EndpointView, { parent, hostAddresses }: MacvlanOptions): PlanObject[] {
  return endpoint.addresses.map(({ address }): PlanObject => {
    const family = familyOf(address);
    const named = hostAddresses.some((own) => familyOf(own) === family);
    return {
      kind: "route",
      namespace: host,
      to: `${address}/${family === "ip6" ? 128 : 32}`,
      link: hostLinkName(network.id),
      ...(!named && parent !== undefined && { sourceOf: parent }),
    };
  });
}
