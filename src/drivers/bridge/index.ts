import type { NetworkDriver } from "../driver.ts";
import { type BridgeOptions, readOptions } from "./options.ts";
import { bridgeName } from "./names.ts";
import { planEndpoint, planLeaf, planNetwork } from "./plan.ts";

/** Containers of one host on a Linux bridge; the world through the host's own address. */
export const bridge: NetworkDriver<BridgeOptions> = {
  name: "bridge",
  scope: "local",
  hasPools: true,
  severalSubnets: false,
  segmentOf: ({ id }, options) => ({ namespace: "host", link: bridgeName(id, options) }),
  readOptions,
  planNetwork,
  planEndpoint,
  planLeaf,
};
