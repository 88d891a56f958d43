import type { Balancer } from "../balancer.ts";
import { planEntry, planPublished, planService } from "./plan.ts";

/** Maps and chains of nftables, which every kernel has. */
export const nft: Balancer = {
  planClient: () => [],
  name: "nft",
  ways: ["rr", "random", "source"],
  planService,
  planPublished,
  planEntry,
};
