/*
 * The way of one packet
 *
 * Container A (10.0.1.2) asks the service at its virtual address 10.0.1.9, which nobody has. The packet meets the chain `balance` of A's own
 * sandbox: the map `marks` has a number for the address, the service's own there. IPVS, right after the rules of the same hook,
 * finds its virtual service by that mark, chooses a destination for a new connection, 10.0.1.4, and writes that over the
 * destination. Answers come in for A itself, where IPVS writes the virtual address over their source. Nothing is written over A's
 * address: the task sees who asks, and answers A on the network.
 *
 * A virtual service without a destination refuses, and the rules do that before it, with a reset. When a task gets no new
 * connections any more its destination has weight 0, and those that it has go on; they are forgotten with its endpoint
 * (dataplane/connections.ts): the next segment of such a connection goes to another task, which resets it; a datagram just goes there.
 */
import { createHash } from "node:crypto";
import { addressBytes } from "../../lib/address-bytes.ts";
import type { IpAddress, SandboxId } from "../../model/ids.ts";
import { type DestinationObject, familyOf, type IpvsScheduler, type PlanObject } from "../../model/plan.ts";
import type { BalancePolicy } from "../../model/service.ts";
import { type ServiceView, targetsIn } from "../balancer.ts";
import { nft } from "../nft/index.ts";
import { shareNumber } from "../nft/shares.ts";

/** IPVS shares out nothing by chance. */
const schedulers: Readonly<Partial<Record<BalancePolicy["by"], IpvsScheduler>>> = {
  rr: "rr",
  least: "lc",
  source: "sh",
};

/** What IPVS does by itself is meant for a machine that shares out the connections of others. */
const settings: Readonly<Record<string, string>> = {
  conntrack: "1", // rules of the sandbox see its connections as they do others
  expire_nodest_conn: "1", // what was said to a task that is gone goes to another one
  sloppy_tcp: "1", // and from the middle of a connection, too: so it is reset
};

/** In every sandbox that sees a service: for all of IPVS there. */
export const planClient = (sandbox: SandboxId): PlanObject[] =>
  Object.entries(settings).map(([key, value]) => ({
    kind: "sysctl",
    namespace: `sandbox:${sandbox}`,
    key: `net.ipv4.vs.${key}`,
    value,
  }));

/** In a client's sandbox: a virtual service for each virtual address. */
export function planService(view: ServiceView): readonly PlanObject[] {
  const { balance, idle, addresses } = view.service;
  const scheduler = schedulers[balance.by];
  // After how long an idle connection is forgotten, IPVS knows for a whole namespace only.
  if (scheduler === undefined || idle !== undefined) return nft.planService(view);
  const namespace = `sandbox:${view.sandbox}` as const;
  const mark = markOf(addresses);
  return addresses.flatMap((address): PlanObject[] => {
    const family = familyOf(address);
    const targets = targetsIn(view, family);
    const element = { kind: "element", namespace, family, key: address } as const;
    return [
      { kind: "ipvs", namespace, family, mark, scheduler },
      ...targets.map(
        (target): DestinationObject => ({ kind: "destination", namespace, family, mark, address: target }),
      ),
      { ...element, set: "marks", value: String(mark) },
      ...(targets.length > 0 ? [] : [{ ...element, set: "services", value: String(shareNumber("rr", 0)) }]),
    ];
  });
}

/** Another one for each service of a sandbox: the address in IPv4, as a number; where there is none, some of its digest. */
function markOf(addresses: readonly IpAddress[]): number {
  const four = addresses.find((address) => familyOf(address) === "ip");
  if (four !== undefined) return addressBytes(four).readUInt32BE();
  return createHash("sha256").update(addresses.join(" ")).digest().readUInt32BE() || 1;
}
