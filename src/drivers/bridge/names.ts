import { derivedMac } from "../../lib/mac.ts";
import type { MacAddress, NetworkId } from "../../model/ids.ts";
import type { BridgeOptions } from "./options.ts";

/** Interface names end at 15 characters, so ids are cut. */
export const bridgeName = (id: NetworkId, options: BridgeOptions) => options.bridgeName ?? `br-${id.slice(0, 12)}`;

/** Leaf bridges, 1 to 99, and the cables to them. */
export const leafNames = (id: NetworkId) => (leaf: number) => {
  const rest = `${leaf}-${id.slice(0, 10)}`;
  return { bridge: `lf${rest}`, up: `lu${rest}`, down: `ld${rest}` };
};

/** Chains of one network; maps lead to them, so a packet of another network never reads their rules. */
export const chainNames = (id: NetworkId) => ({
  from: `from_${id.slice(0, 12)}`,
  to: `to_${id.slice(0, 12)}`,
  leaving: `leaving_${id.slice(0, 12)}`,
});

/**
 * A bridge without a MAC of its own takes its lowest port's, and every gateway entry in its containers goes stale when
 * that port goes.
 */
export const bridgeMac = (id: NetworkId): MacAddress => derivedMac("52", id);
