import { families, table } from "./listing.ts";
import { type Nft, output } from "./nft.ts";

interface ListedChain {
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly policy?: string;
  };
}

/** Chains that are not ours, at the hook `forward`, with policy drop: what our chains accept, they still drop. */
export function foreignDrops(nft: Nft): { family: string; table: string; chain: string }[] {
  const { nftables } = JSON.parse(nft.run("list chains", output.json)) as { nftables: ListedChain[] };
  return nftables.flatMap(({ chain }) => {
    if (chain?.hook !== "forward" || chain.policy !== "drop") return [];
    if (chain.table === table && (families as readonly string[]).includes(chain.family)) return [];
    return [{ family: chain.family, table: chain.table, chain: chain.name }];
  });
}
