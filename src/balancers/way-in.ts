import { familyOf, type PlanObject } from "../model/plan.ts";
import type { EntryView, PublishedView } from "./balancer.ts";

/*
 * The way of one packet, from outside to the ingress sandbox
 *
 * A client asks any address of the host for a published port. The host's map `published` writes the sandbox's address on
 * docker_gwbridge over the destination; the bridge lets the packet in because it was translated, and nobody touches the client's
 * address. The sandbox's default route leads back to the host, so answers are translated back the same way.
 *
 * A program of the host that asks 127.0.0.1, and a container, come with the bridge's own address: the host has written it over
 * theirs (dataplane/base.ts, drivers/bridge/rules.ts).
 */

/** What every ingress sandbox is: a router. */
export function planRouter({ sandbox }: EntryView): PlanObject[] {
  const set = (key: string): PlanObject => ({ kind: "sysctl", namespace: `sandbox:${sandbox}`, key, value: "1" });
  return ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].map(set);
}

/** On the host: a published port leads to the ingress sandbox. */
export const planWayIn = ({ service, entry }: PublishedView): PlanObject[] =>
  service.ports
    .filter(({ mode }) => mode === "ingress")
    .flatMap(({ protocol, published, address: bound }) =>
      entry.outside.addresses.flatMap(({ address }): PlanObject[] => {
        const family = familyOf(address);
        if (bound !== undefined && familyOf(bound) !== family) return [];
        const port = `${protocol} . ${published}`;
        const [set, key] = bound === undefined ? ["published", port] : ["published_at", `${bound} . ${port}`];
        return [{ kind: "element", namespace: "host", family, set, key, value: `${address} . ${published}` }];
      }),
    );
