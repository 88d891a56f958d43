/*
 * The way of one packet, from a task back to who asked
 *
 * A request came in on host A and kept the client's address; the task, on host B, would send the answer over its own default route,
 * and the client would get it from a stranger. It has to go back through A's ingress sandbox.
 *
 * Ingress sandboxes have MACs of a range of their own. When the request comes in on the task's leg of the ingress network, `came`
 * remembers the last four bytes of the sender's MAC as the connection's mark, and `learn` keeps the whole MAC under the same
 * four bytes. The answer leaves from the task's address on that leg: a rule leads it to a table of routes whose gateway is the
 * network's, an address that nobody has, with a MAC that nobody has. `answer` gives the packet the connection's mark, and
 * `send` writes the MAC that belongs to the mark over the gateway's. So the overlay takes it to A's sandbox, which knows the connection.
 *
 * A client may ask two hosts from one port of its own, and be led to one task by both. For that each ingress sandbox has a zone of
 * connection tracking, by the last bytes of its MAC (`apart`): the second connection is another one, and Linux gives it another
 * port of the client's address.
 *
 * These rules are the same for every task and never change: they name no host.
 *
 * A program that waits for datagrams on all its addresses answers from the one that its default route has. So that this is an answer
 * to Linux, too, the datagram was translated to that address before (`here`), and the second rule is for it.
 */
import { ingressMacPrefix } from "../lib/mac.ts";
import { cidrText, masked, parseCidr } from "../lib/net.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type { IpAddress, SandboxId } from "../model/ids.ts";
import { type Family, familyOf, type NamespaceName, type PlanObject } from "../model/plan.ts";

/** Nobody's: the last bytes of a sandbox's are not all zero. */
const nobody = `${ingressMacPrefix}00:00:00`;
/**
 * What all marks have in common: the third byte of the MACs. Linux keeps the bytes as they come, so that the first is the
 * lowest (x86 and ARM are little endian).
 */
const mark = { value: 0x54, mask: 0xff } as const;
const isOurs = "0x000000ff == 0x00000054";
const fromIngress = `ether saddr & ff:ff:ff:00:00:00 == ${nobody}`;
const routingTable = 100;
const priority = { own: 100, marked: 101 } as const;

/** Rules in the table of a sandbox that no task is in cost nothing: the sets that they read are empty. */
export const wayBackBase = (family: Family): string => {
  const address = family === "ip" ? "ipv4_addr" : "ipv6_addr";
  return `
  set legs { type ifname; }
  set neighbours { type ${address}; flags interval; }
  map way_out { type ifname : ${address}; }
  chain apart {
    type filter hook prerouting priority raw; policy accept;
    iifname @legs ${fromIngress} ct original zone set @ll,80,16
  }
  chain came {
    type filter hook prerouting priority mangle; policy accept;
    iifname @legs ct state new ${fromIngress} ct mark set @ll,64,32
  }
  chain here {
    type nat hook prerouting priority dstnat; policy accept;
    iifname @legs ct mark & ${isOurs} meta l4proto udp ${family} saddr != @neighbours dnat to iifname map @way_out
  }
  chain answer {
    type filter hook output priority mangle; policy accept;
    ct direction reply ct mark & ${isOurs} meta l4proto tcp meta mark set ct mark
  }
  chain answer_elsewhere {
    type route hook output priority mangle; policy accept;
    ct direction reply ct mark & ${isOurs} meta l4proto != tcp meta mark set ct mark
  }
`;
};

/** The MACs of ingress sandboxes: learned from packets, and kept longer than Linux keeps an idle connection (five days). */
export const macBase = `
  map macs { type mark : ether_addr; size 65536; flags dynamic,timeout; timeout 6d; }
`;

/** A task's leg on the ingress network. */
export interface LegView {
  readonly sandbox: SandboxId;
  readonly leg: Endpoint;
  readonly pools: readonly AddressPool[];
  /** The addresses with which the sandbox speaks to the world, at most one a family. */
  readonly out: readonly IpAddress[];
}

/** What a task's sandbox needs so that answers go back through the host where they were asked for. */
export function planWayBack(view: LegView): PlanObject[] {
  const { leg, sandbox } = view;
  const namespace: NamespaceName = `sandbox:${sandbox}`;
  const name = leg.interfaceName;
  return [
    // The client's address is behind another interface, as far as the main table knows.
    { kind: "sysctl", namespace, key: `net.ipv4.conf.${name.replaceAll(".", "/")}.rp_filter`, value: "2" },
    ...leg.addresses.flatMap(({ address, prefix }) => planFamily(view, address, prefix)),
    onLeg(view, "ingress", "learn", `${fromIngress} update @macs { @ll,64,32 : ether saddr }`),
    onLeg(view, "egress", "send", `meta mark & ${isOurs} ether daddr set meta mark map @macs`),
  ];
}

/** A chain that sees the frames of the leg. */
const onLeg = ({ sandbox, leg }: LegView, hook: "ingress" | "egress", name: string, rule: string): PlanObject => ({
  kind: "chain",
  namespace: `sandbox:${sandbox}`,
  family: "netdev",
  name,
  hook,
  link: leg.interfaceName,
  rules: [rule],
});

function planFamily({ sandbox, leg, pools, out }: LegView, address: IpAddress, prefix: number): PlanObject[] {
  const namespace: NamespaceName = `sandbox:${sandbox}`;
  const family = familyOf(address);
  const link = leg.interfaceName;
  const subnet = parseCidr(`${address}/${prefix}`);
  const via = pools.find((pool) => familyOf(pool.subnet) === family)?.gateway;
  if (subnet === undefined || via === undefined) return [];
  const near = cidrText(masked(subnet));
  const other = out.find((one) => familyOf(one) === family);
  const rule = { kind: "rule", namespace, table: routingTable } as const;
  const route = { kind: "route", namespace, link, table: routingTable } as const;
  const element = { kind: "element", namespace, family } as const;
  return [
    { ...route, to: near },
    { ...route, to: family === "ip" ? "0.0.0.0/0" : "::/0", via },
    { kind: "neighbour", namespace, link, address: via, mac: nobody },
    { ...rule, priority: priority.own, from: address },
    { ...element, set: "legs", key: `"${link}"` },
    { ...element, set: "neighbours", key: near },
    ...(other === undefined
      ? []
      : [
          { ...rule, priority: priority.marked, from: other, mark },
          { ...element, set: "way_out", key: `"${link}"`, value: other },
        ]),
  ];
}
