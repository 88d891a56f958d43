import type { NetworkDriver } from "../driver.ts";
import { refuseUnknown } from "../option-values.ts";

/** A sandbox with nothing but its loopback: the sandbox's own plan has that already. Docker shows its name as `null`. */
export const none: NetworkDriver<undefined> = {
  name: "none",
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
