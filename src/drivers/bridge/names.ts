import type { EndpointId, MacAddress, NetworkId } from "../../model/ids.ts";
import type { BridgeOptions } from "./options.ts";

/** Interface names end at 15 characters, so ids are cut. */
export const bridgeName = (id: NetworkId, options: BridgeOptions) => options.bridgeName ?? `br-${id.slice(0, 12)}`;
/** The host end of an endpoint's cable. */
export const portName = (id: EndpointId) => `veth${id.slice(0, 11)}`;

/** Chains of one network; maps lead to them, so a packet of another network never reads their rules. */
export const chainNames = (id: NetworkId) => ({
  from: `from_${id.slice(0, 12)}`,
  to: `to_${id.slice(0, 12)}`,
  leaving: `leaving_${id.slice(0, 12)}`,
});

/**
 * A bridge without a MAC of its own takes its lowest port's, and every gateway entry in its containers goes stale when
 * that port goes. Locally administered, unicast, from the id.
 */
export const bridgeMac = (id: NetworkId): MacAddress => derivedMac("52", id, 0);
/** The host end's MAC is seen by nobody, but a random one would make two equal plans differ. */
export const portMac = (id: EndpointId): MacAddress => derivedMac("56", id, 0);

function derivedMac(first: string, id: string, from: number): MacAddress {
  const digits = id.slice(from, from + 10).padEnd(10, "0");
  return [first, ...(digits.match(/../g) ?? [])].join(":");
}
