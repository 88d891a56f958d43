import type { Balancer } from "./balancer.ts";
import { nft } from "./nft/index.ts";

/** Every balancer, by the name of its folder. A new one is one word here. */
export const balancers: Readonly<Record<string, Balancer>> = { nft };
export const defaultBalancer: Balancer = nft;
