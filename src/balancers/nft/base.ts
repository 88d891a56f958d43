import type { Family } from "../../model/plan.ts";
import { byAddress, byPort, choice, choose, share, sharedChains } from "./shares.ts";

const addressType: Readonly<Record<Family, string>> = { ip: "ipv4_addr", ip6: "ipv6_addr" };

/**
 * What the table `tombolo` of a client's sandbox begins with.
 *
 *   idles     virtual address → after how long its idle connections are forgotten
 *   services  virtual address → the number of the chain that shares out its connections
 *   chains    virtual address → a chain of its own, for services of many tasks
 *   members   virtual address and number → task
 *   marks     virtual address → by which mark IPVS shares out its connections; what a rule has translated before is that rule's
 *
 * IPVS leaves a packet its route: one to the client's own task would go out to the network. A new mark in a chain of type `route`
 * has Linux look for the route again (`itself`).
 */
export const clientBase = (family: Family): string => `
  map idles { type ${addressType[family]} : verdict; }
  map services { type ${addressType[family]} : mark; }
  map chains { type ${addressType[family]} : verdict; }
  map members { typeof ${family} daddr . numgen inc mod 2 : ${family} daddr; }
  map marks { type ${addressType[family]} : mark; }
${sharedChains(family, byAddress)}
  chain balance {
    type filter hook output priority mangle; policy accept;
    ct status dnat return
    meta mark set ${family} daddr map @marks
  }
  chain itself {
    type route hook output priority filter; policy accept;
    meta mark != 0 oifname != "lo" fib daddr type local meta mark set 0
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ${family} daddr vmap @idles
    meta mark set ${family} daddr map @services goto ${share}
    ${family} daddr vmap @chains
  }
`;

/**
 * What the table `tombolo` of the ingress sandbox begins with. It passes on what it has translated, and nothing else.
 *
 *   idles     published port → after how long its idle connections are forgotten
 *   services  published port → the number of the chain that shares out its connections
 *   chains    published port → a chain of its own, for services of many tasks
 *   members   published port and number → task and port
 *   hiding    published ports whose tasks see this sandbox's address for the client's
 *   ways_in   interfaces on the host's side
 *   near      addresses that mean somebody on this host alone: their connections have this sandbox's own
 */
export const entryBase = (family: Family): string => `
  map idles { type inet_proto . inet_service : verdict; }
  map services { type inet_proto . inet_service : mark; }
  map chains { type inet_proto . inet_service : verdict; }
  map members { type inet_proto . inet_service . mark : ${addressType[family]} . inet_service; }
  set hiding { type inet_proto . inet_service; }
  set ways_in { type ifname; }
  set near { type ${addressType[family]}; flags interval; }
  chain ${choose} {
    ${choice(family)}
  }
${sharedChains(family, byPort)}
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname @ways_in meta l4proto . th dport @hiding ct mark set 0x1
    iifname @ways_in meta l4proto . th dport vmap @idles
    iifname @ways_in meta l4proto { tcp, udp, sctp } meta mark set meta l4proto . th dport map @services goto ${share}
    iifname @ways_in meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @chains
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct status dnat accept
    drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @ways_in return
    ${family} saddr @near masquerade
    ct mark 0x1 masquerade
  }
`;
