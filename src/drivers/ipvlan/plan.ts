/*
 * The way of one packet
 *
 * Container A to a machine of the LAN. A's eth0 is an ipvlan: it has an address of its own, and the MAC of the parent.
 * Mode l2: A asks ARP for the machine or for the router of its default route; the frame leaves through the parent. An
 * answer comes to the parent's MAC; ipvlan looks at the address in the packet and hands it to A.
 * Mode l3: nobody asks for neighbours. A's default route is eth0 itself; the packet is routed by the host's table at the
 * parent, and the routers of the LAN need a route to A's subnet by the host. Mode l3s: the same, through the host's
 * netfilter chains.
 *
 * To container B on the same parent: ipvlan hands the packet over itself, unless the flag is private (never) or vepa (by
 * way of the switch). To the host's own address on the parent: not at all, in every mode.
 */
import type { PlanObject } from "../../model/plan.ts";
import type { EndpointView, NetworkView } from "../driver.ts";
import { defaultRoutes, insideOf, interfaceObjects } from "../interface.ts";
import { planSegment, segmentName } from "../segment.ts";
import type { IpvlanOptions } from "./options.ts";

/** The segment of a network without a parent. */
export const planNetwork = ({ network }: NetworkView, options: IpvlanOptions): PlanObject[] =>
  options.parent === undefined ? planSegment(network, "i", options.mtu) : [];

/** The container's interface. */
export function planEndpoint(view: EndpointView, options: IpvlanOptions): PlanObject[] {
  return [
    {
      kind: "link",
      type: "ipvlan",
      namespace: insideOf(view),
      name: view.endpoint.interfaceName,
      parent: options.parent ?? segmentName("i", view.network.id),
      mode: options.mode,
      flag: options.flag,
      ...(options.mtu !== undefined && { mtu: options.mtu }),
    },
    ...interfaceObjects(view),
    ...defaultRoutes(view, options.mode === "l2"),
  ];
}
