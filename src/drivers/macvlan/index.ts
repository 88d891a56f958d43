import type { NetworkDriver } from "../driver.ts";
import { type MacvlanOptions, readOptions } from "./options.ts";
import { planEndpoint, planNetwork } from "./plan.ts";

/** Containers as machines of the LAN, each with a MAC and an address of its own there. */
export const macvlan: NetworkDriver<MacvlanOptions> = {
  name: "macvlan",
  scope: "local",
  hasPools: true,
  severalSubnets: true,
  readOptions,
  planNetwork,
  planEndpoint,
  lan: {
    parentOf: ({ parent, mode, hostAccess }) =>
      parent === undefined
        ? undefined
        : { link: parent, type: "macvlan", shared: mode !== "passthru", promiscuous: true, hostRoutes: hostAccess },
    mtu: ({ mtu }) => mtu,
    addressProbe: ({ addressProbe }) => addressProbe,
    announcements: ({ announcements }) => announcements,
    reserved: ({ hostAddresses }) => hostAddresses,
    // A MAC for each would be one too many for the one frame filter that passthru has.
    mostEndpoints: ({ mode }) => (mode === "passthru" ? 1 : undefined),
    ownMacs: ({ mode }) => mode !== "passthru",
  },
};
