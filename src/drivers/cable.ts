import { derivedMac } from "../lib/mac.ts";
import type { EndpointId, MacAddress } from "../model/ids.ts";
import type { BridgePort, NamespaceName, VethLink } from "../model/plan.ts";
import type { EndpointView } from "./driver.ts";
import { insideOf } from "./interface.ts";

/** The near end of an endpoint's cable. Interface names end at 15 characters, so the id is cut. */
export const portName = (id: EndpointId) => `veth${id.slice(0, 11)}`;

/** The near end's MAC is seen by nobody, but a random one would make two equal plans differ. */
const portMac = (id: EndpointId): MacAddress => derivedMac("56", id);

/** What carries an endpoint's frames: a veth pair between its sandbox and a port of a bridge in `namespace`. */
export function cable(view: EndpointView, near: NamespaceName, port: BridgePort, mtu?: number): VethLink {
  const { endpoint } = view;
  return {
    kind: "link",
    type: "veth",
    namespace: near,
    name: portName(endpoint.id),
    mac: portMac(endpoint.id),
    ...(mtu !== undefined && { mtu }),
    peer: { namespace: insideOf(view), name: endpoint.interfaceName, mac: endpoint.mac },
    port,
  };
}
