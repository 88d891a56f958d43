import type { Balancer } from "../balancer.ts";
import { nft } from "../nft/index.ts";
import { planClient, planService } from "./plan.ts";

/** What is published, nftables shares out here, too. */
export const ipvs: Balancer = {
  ...nft,
  name: "ipvs",
  ways: ["rr", "random", "least", "source"],
  planClient,
  planService,
};
