import type { NetworkDriver } from "../driver.ts";
import { type IpvlanOptions, readOptions } from "./options.ts";
import { planEndpoint, planNetwork } from "./plan.ts";

/** Containers as addresses of the LAN, behind the MAC of the parent. */
export const ipvlan: NetworkDriver<IpvlanOptions> = {
  name: "ipvlan",
  scope: "local",
  hasPools: true,
  severalSubnets: true,
  readOptions,
  planNetwork,
  planEndpoint,
  lan: {
    parentOf: ({ parent }) =>
      parent === undefined
        ? undefined
        : { link: parent, type: "ipvlan", shared: false, promiscuous: false, hostRoutes: false },
    mtu: ({ mtu }) => mtu,
    addressProbe: ({ addressProbe }) => addressProbe,
    announcements: ({ announcements }) => announcements,
    reserved: () => [],
    mostEndpoints: () => undefined,
    ownMacs: () => false,
  },
};
