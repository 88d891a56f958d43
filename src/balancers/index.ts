import type { Balancer } from "./balancer.ts";
import { ipvs } from "./ipvs/index.ts";
import { nft } from "./nft/index.ts";

/** Every balancer, by the name of its folder. A new one is one word here. */
export const balancers: Readonly<Record<string, Balancer>> = { nft, ipvs };
export const defaultBalancer: Balancer = nft;
/** The default for a name that is not known, or none, as with other versions. */
export const balancerNamed = (name = ""): Balancer => balancers[name] ?? defaultBalancer;
