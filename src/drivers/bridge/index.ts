import type { NetworkDriver } from "../driver.ts";
import { type BridgeOptions, readOptions } from "./options.ts";
import { planEndpoint, planLeaf, planNetwork } from "./plan.ts";

/** Containers of one host on a Linux bridge; the world through the host's own address. */
export const bridge: NetworkDriver<BridgeOptions> = {
  name: "bridge",
  scope: "local",
  hasPools: true,
  severalSubnets: false,
  readOptions,
  planNetwork,
  planEndpoint,
  planLeaf,
};
