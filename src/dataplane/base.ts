import { clientBase, entryBase } from "../balancers/nft/base.ts";
import { macBase, wayBackBase } from "../balancers/way-back.ts";
import type { IpAddress } from "../model/ids.ts";
import { type BaseText, encryptedUnderlay, type Family, ingressNamespace, type PlanObject } from "../model/plan.ts";
import type { NamespaceName } from "../model/plan.ts";
import { vxlan } from "../drivers/overlay/names.ts";
import { frameBase } from "./frames.ts";

/** `route_localnet` is on for bridges that publish ports: this gives back what it takes away (CVE-2020-8558). */
const guard: Readonly<Record<Family, string>> = {
  ip: `    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname != "lo" ip saddr 127.0.0.0/8 drop`,
  ip6: `    iifname != "lo" ip6 daddr ::1 drop`,
};

/** A host's program that asks 127.0.0.1 for a published port. */
const fromLoopback: Readonly<Record<Family, string>> = {
  ip: `    oifname != "lo" ip saddr 127.0.0.0/8 masquerade\n`,
  ip6: "",
};
/** Linux takes no answer for ::1 from a bridge, whatever its source: better refused at once, so that programs go on to 127.0.0.1. */
const loopback: Readonly<Record<Family, string>> = { ip: "", ip6: " ip6 daddr != ::1" };

/**
 * Which host sends to this one on which network: 24 bits from the 13th byte of UDP on are the VXLAN identifier (RFC 7348
 * section 5).
 */
const tunnelEnds = (family: Family) => `  set tunnel_ends { typeof ${family} saddr . ${family} daddr . @th,96,24; }`;
const known = (family: Family) => `${family} saddr . ${family} daddr . @th,96,24 @tunnel_ends`;

/**
 * UDP to the port of tunnels. None from containers, whose packets would come to other hosts with this host's address; and no
 * connection tracking, for a container that speaks from that port could have a reply expected from another host's tunnel, and get its
 * packets (projectcalico/calico#12244). Reassembly was before (NF_IP_PRI_CONNTRACK_DEFRAG).
 *
 * A frame in a tunnel was sent by nobody of this namespace; what has a socket here, and so a user, is forged
 * (CVE-2026-92542). `meta skuid` matches no packet without one.
 */
const tunnels = (family: Family) => `  chain tunnels_in {
    ${known(family)} iifname != @bridges notrack accept
    iifname @bridges drop
    fib daddr type local drop
  }
  chain tunnels_out {
    meta skuid 0-4294967295 drop
    notrack
  }`;

/** In the namespace of encrypted networks nothing comes out of WireGuard but tunnels. */
const encryptedBase = `
${tunnelEnds("ip6")}
  chain tunnels_in {
    type filter hook input priority raw; policy accept;
    ${known("ip6")} accept
    meta l4proto udp drop
  }
`;

/**
 * The part of the tables `tombolo` that is there from the start and never changes: hooks, and the maps they read.
 * Everything that grows with networks, containers or ports is an element, so the number of rules a packet meets stays.
 * A network's own namespace has bridges in it and nothing else that needs rules; what a sandbox has is said by balancers/. On
 * the host:
 *
 *   guard       first of all: drops what pretends to come from this host or from a container, and what comes up on a leaf
 *               bridge: a network's containers reach the host by its root bridge, on which the other rules are. VXLAN comes from
 *               hosts with containers on the network of ours that it says it is for, or not at all
 *   sent        VXLAN is sent by the kernel alone
 *   prerouting  from outside and from containers: host port → container (`published`)
 *   output      the same for the host's own programs
 *   forward     DOCKER-USER (the users' own), then each network's chains by the bridge's name
 *   postrouting from a container's subnet to elsewhere: the host's address as source
 */
export const baseText: BaseText = (namespace) => {
  if (namespace === "host") return hostBase;
  if (namespace === ingressNamespace) return ingressBase;
  if (namespace.startsWith("sandbox:")) return sandboxBase;
  return namespace === encryptedUnderlay ? { ip6: encryptedBase } : networkBase;
};

const hostBase = { ip: base("ip"), ip6: base("ip6"), bridge: frameBase() };
const networkBase = { bridge: frameBase(vxlan) };
const ingressBase = { ip: entryBase("ip"), ip6: entryBase("ip6") };
/** A container's: for services that it asks, and for answers of a service that it is a task of. */
const sandboxBase = {
  ip: clientBase("ip") + wayBackBase("ip"),
  ip6: clientBase("ip6") + wayBackBase("ip6"),
  netdev: macBase,
};

function base(family: Family): string {
  const address = family === "ip" ? "ipv4_addr" : "ipv6_addr";
  return `
  map published { type inet_proto . inet_service : ${address} . inet_service; }
  map published_at { type ${address} . inet_proto . inet_service : ${address} . inet_service; }
  set open { type ${address} . inet_proto . inet_service; }
  set tunnel_ports { type inet_service; }
${tunnelEnds(family)}
  set bridges { type ifname; }
  set leaves { type ifname; }
  set subnets { type ${address}; flags interval; }
  map from { type ifname : verdict; }
  map to { type ifname : verdict; }
  map leaving { type ${address} : verdict; flags interval; }
  chain DOCKER-USER { }
  chain translate {
    dnat ${family} to ${family} daddr . meta l4proto . th dport map @published_at
    dnat ${family} to meta l4proto . th dport map @published
  }
${tunnels(family)}
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    udp dport @tunnel_ports jump tunnels_in
    iifname @leaves drop
${guard[family]}
    iifname != "lo" iifname != @bridges ${family} saddr @subnets drop
  }
  chain sent {
    type filter hook output priority raw; policy accept;
    udp dport @tunnel_ports jump tunnels_out
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp, sctp } fib daddr type local jump translate
  }
  chain output {
    type nat hook output priority -100; policy accept;
    meta l4proto { tcp, udp, sctp }${loopback[family]} fib daddr type local jump translate
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump DOCKER-USER
    ct state established,related accept
    iifname vmap @from
    oifname vmap @to
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
${fromLoopback[family]}    ${family} saddr vmap @leaving
  }
`;
}

/** What the owner `host` wants. IPv6 forwarding only when a network needs it: it ends router discovery on the uplinks. */
export function planHost(wish: {
  readonly ipv6: boolean;
  /** UDP ports of this host's tunnels: closed to strangers before the first tunnel is there. */
  readonly tunnelPorts: readonly number[];
  readonly fitting: Fitting["host"];
  /** By how much limits among them are raised. */
  readonly factor: number;
}): PlanObject[] {
  const values: Record<string, string> = {
    "net.ipv4.ip_forward": "1",
    ...(wish.ipv6 && { "net.ipv6.conf.all.forwarding": "1", "net.ipv6.conf.default.forwarding": "1" }),
    ...Object.fromEntries(
      Object.entries(wish.fitting).map(([key, value]) => [
        key,
        Object.hasOwn(hostLimits, key) ? String(Number(value) * wish.factor) : value,
      ]),
    ),
  };
  return [
    ...Object.entries(values).map(([key, value]): PlanObject => ({ kind: "sysctl", namespace: "host", key, value })),
    ...(["ip", "ip6"] as const).flatMap((family) =>
      wish.tunnelPorts.map((port) => hostElement(family, "tunnel_ports", String(port))),
    ),
  ];
}

/** One network between two hosts. */
interface TunnelEnd {
  readonly there: IpAddress;
  readonly here: IpAddress;
  readonly vni: number;
  /** Where the network's tunnel has its socket; absent: the host's namespace. */
  readonly underlay?: NamespaceName;
}
/** What the owner of another host's tunnel end wants: its packets for the network are let in. */
export const planTunnelEnd = ({ there, here, vni, underlay }: TunnelEnd): PlanObject =>
  hostElement(there.includes(":") ? "ip6" : "ip", "tunnel_ends", `${there} . ${here} . ${vni}`, underlay);

const hostElement = (family: Family, set: string, key: string, namespace: NamespaceName = "host"): PlanObject => ({
  kind: "element",
  namespace,
  family,
  set,
  key,
});

/**
 * Limits of the whole kernel, which only the host's first namespace has, as they are for up to 1,000 containers. The
 * neighbour table counts the entries of all namespaces together and forgets what is above `gc_thresh3` (1,024 by default):
 * 512 pairs of containers that talk. A broadcast is copied once for each port and queued on one CPU: what is above
 * `netdev_max_backlog` (1,000 by default) is dropped.
 */
export const hostLimits: Readonly<Record<string, number>> = {
  "net.ipv4.neigh.default.gc_thresh1": 16_384,
  "net.ipv4.neigh.default.gc_thresh2": 32_768,
  "net.ipv4.neigh.default.gc_thresh3": 65_536,
  "net.ipv6.neigh.default.gc_thresh1": 16_384,
  "net.ipv6.neigh.default.gc_thresh2": 32_768,
  "net.ipv6.neigh.default.gc_thresh3": 65_536,
  "net.core.netdev_max_backlog": 8192,
};

/** By how much `hostLimits` are raised for so many endpoints: 1 up to 1,000, 2 up to 2,000, 4 up to 4,000 … 32 at most. */
export const limitFactor = (endpoints: number): number =>
  Math.min(2 ** Math.ceil(Math.log2(Math.max(endpoints, 1000) / 1000)), 32);

/**
 * Only kernels with br_netfilter have these, and switched on they are by default, in each namespace. On the host a bridge then
 * translates published ports itself and hands the packet from port to port: back to its sender, or past `isolated`, it then never
 * arrives. In a network's namespace each frame takes a way through the IP layer, where no rules are.
 */
const bridgeFilters = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];
const arpFilter = "net.bridge.bridge-nf-call-arptables";

/** Sysctls that not every kernel and namespace has, with the values that they are to have. */
export interface Fitting {
  /** The host's: limits, which are only ever raised (dataplane/audit.ts, isEnough), and what bridges must not do. */
  readonly host: Readonly<Record<string, string>>;
  /** Those of each overlay network's namespace. */
  readonly networks: Readonly<Record<string, string>>;
}

/**
 * @param read gives a sysctl's value, and throws when the kernel does not know it
 * @param alone false where dockerd works on the same bridges' kernel: its isolation needs the filters
 */
export function fittingSysctls(read: (key: string) => string, alone: boolean): Fitting {
  const known = (key: string) => {
    try {
      return read(key);
    } catch {
      return undefined;
    }
  };
  const limits = Object.entries(hostLimits).filter(([key]) => known(key) !== undefined);
  const off = (keys: readonly string[]) => keys.filter((key) => known(key) !== undefined).map((key) => [key, "0"]);
  return {
    host: Object.fromEntries([
      ...limits.map(([key, limit]) => [key, String(limit)]),
      ...(alone ? off(bridgeFilters) : []),
    ]),
    networks: Object.fromEntries(off([...bridgeFilters, arpFilter])),
  };
}
