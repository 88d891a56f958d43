import { macFrom } from "../lib/mac.ts";
import type { NetworkId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { PlanObject } from "../model/plan.ts";
import { sysctlName } from "./interface.ts";

/** `dm-<id>` for macvlan and `di-<id>` for ipvlan, as Docker calls them. */
export const segmentName = (letter: "m" | "i", id: NetworkId) => `d${letter}-${id.slice(0, 12)}`;

/**
 * The parent of a network that names none. Linux's `dummy` would do, but not every kernel has it; one end of a cable
 * that leads nowhere is as good.
 */
export function planSegment({ id }: Network, letter: "m" | "i", mtu: number | undefined): PlanObject[] {
  const name = segmentName(letter, id);
  const end = `e${letter}-${id.slice(0, 12)}`;
  return [
    {
      kind: "link",
      type: "veth",
      namespace: "host",
      name,
      mac: macFrom(id, "segment"),
      ...(mtu !== undefined && { mtu }),
      peer: { namespace: "host", name: end, mac: macFrom(id, "end") },
    },
    ...[name, end].map(
      (link): PlanObject => ({
        kind: "sysctl",
        namespace: "host",
        key: `net.ipv6.conf.${sysctlName(link)}.disable_ipv6`,
        value: "1",
      }),
    ),
  ];
}
