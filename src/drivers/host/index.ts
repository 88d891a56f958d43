import type { NetworkDriver } from "../driver.ts";
import { refuseUnknown } from "../option-values.ts";

/** Containers in the host's own namespace: nothing to make. */
export const host: NetworkDriver<undefined> = {
  name: "host",
  scope: "local",
  hasPools: false,
  severalSubnets: false,
  readOptions(spec) {
    refuseUnknown(spec, []);
    return undefined;
  },
  planNetwork: () => [],
  planEndpoint: () => [],
};
