import type { NetworkDriver } from "../driver.ts";
import { type OverlayOptions, readOptions } from "./options.ts";
import { narrowPaths, planEndpoint, planLeaf, planNetwork, planPeer, planTunnelEnd, segmentOf } from "./plan.ts";

/** Containers of many hosts on one segment: a bridge on each host, and VXLAN between them. */
export const overlay: NetworkDriver<OverlayOptions> = {
  name: "overlay",
  scope: "cluster",
  hasPools: true,
  severalSubnets: false,
  overHosts: { vni: ({ vni }) => vni, isEncrypted: ({ encrypted }) => encrypted },
  segmentOf,
  sandboxSysctls: narrowPaths,
  readOptions,
  planNetwork,
  planEndpoint,
  planLeaf,
  planPeer,
  planTunnelEnd,
};
