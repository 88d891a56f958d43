import { type EngineError, invalid } from "../lib/errors.ts";
import type { NetworkId } from "../model/ids.ts";
import type { PlanObject } from "../model/plan.ts";

/** How a network stands on a link of the host that is not ours. */
export interface ParentUse {
  /** `eth0`, or `eth0.50`: then it is made when it is missing. */
  readonly link: string;
  readonly type: "macvlan" | "ipvlan";
  /** False when no other network may be on the same link. */
  readonly shared: boolean;
  /** True when containers have MACs of their own, for which the parent has to take in frames. */
  readonly promiscuous: boolean;
  /** True when the host has a route to each container. */
  readonly hostRoutes: boolean;
}
export interface PlacedUse extends ParentUse {
  readonly network: NetworkId;
}

/** `eth0.50` is VLAN 50 of `eth0`. */
export function vlanOf(link: string): { readonly parent: string; readonly vlan: number } | undefined {
  const match = /^(.+)\.(\d+)$/.exec(link);
  return match === null ? undefined : { parent: match[1] ?? "", vlan: Number(match[2]) };
}

/** What all networks on one link want of it: one owner, whose plan goes with the last of them. */
export function planParent(link: string, uses: readonly ParentUse[]): PlanObject[] {
  if (uses.length === 0) return [];
  const vlan = vlanOf(link);
  const promiscuous = uses.some((use) => use.promiscuous);
  return [
    ...(vlan === undefined
      ? []
      : [{ kind: "link", type: "vlan", namespace: "host", name: link, adopt: true, ...vlan } as const]),
    { kind: "parent", namespace: "host", link, promiscuous },
  ];
}

/**
 * Whether the parent is there, or can be made.
 * @param isThere tells whether the host has a link of that name
 * @throws {EngineError} invalid, with Docker's texts (moby libnetwork/drivers/macvlan/macvlan_setup.go)
 */
export function checkParent({ link, type }: ParentUse, isThere: (link: string) => boolean): void {
  if (link === "lo") throw invalid(`loopback interface is not a valid ${type} parent link`);
  if (isThere(link)) return;
  const [base = "", vlan, ...more] = link.split(".");
  if (vlan === undefined)
    throw invalid(
      `invalid subinterface vlan name ${link}, example formatting is eth0.10: there is no interface ${link} on this host, and without a dot it is no VLAN of one`,
    );
  if (more.length > 0)
    throw invalid(`required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${link}`);
  if (!/^\d+$/.test(vlan)) throw invalid(`unable to parse a valid vlan id from: ${vlan} (ex. eth0.10 for vlan 10)`);
  if (/^0./.test(vlan)) throw invalid(`vlan id ${vlan} of ${link}: leave the zeros before it out`);
  if (!isThere(base)) throw invalid(`-o parent interface was not found on the host: ${base}`);
  if (Number(vlan) < 1 || Number(vlan) > 4094) throw invalid(`vlan id must be between 1-4094, received: ${vlan}`);
}

/**
 * Whether a network may stand beside the others on a link.
 * @param others uses of the same link @throws {EngineError} invalid, naming the other network
 */
export function checkShared(use: ParentUse, others: readonly PlacedUse[]): void {
  const refuse = (other: PlacedUse): EngineError => {
    const there = `${other.type} network ${other.network} is already using parent interface ${use.link}`;
    if (other.type !== use.type) return invalid(`${there}: Linux does not let macvlan and ipvlan share one`);
    if (use.type === "ipvlan") return invalid(`network ${other.network} is already using parent interface ${use.link}`);
    return invalid(use.shared ? `${there} in mode passthru` : `cannot use mode passthru, ${there}`);
  };
  const other = others.find((one) => one.type !== use.type || !one.shared || !use.shared);
  if (other !== undefined) throw refuse(other);
}
