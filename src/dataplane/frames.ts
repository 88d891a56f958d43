/** Most frames: TCP to one station, from its own address. What is wrong with frames of other kinds cannot be wrong with these. */
const usual = (["ip", "ip6"] as const).map((family) => {
  const source = family === "ip" ? "ip saddr @sources" : "@nh,64,128 @sources6";
  const toOne = `ether type ${family} meta pkttype != { broadcast, multicast }`;
  return `    ${toOne} meta l4proto tcp iifname . ether saddr . ${source} accept`;
});

/**
 * What the table of a bridge's frames begins with, where bridges are: on the host, and in each overlay network's namespace. A
 * container sends frames of three kinds, and speaks for addresses that it has or that nobody has.
 *
 *   ports    a container's port → its network's chain (drivers/frames.ts). Other ports are none of its business
 *   sources  what a container may send: its port, its MAC, its address
 *   taken    addresses that somebody has: containers of this host and, on overlay networks, of the others, and gateways
 *   storms   how fast each port has sent to everybody of late
 *
 * The chains `from_*` accept what is the sender's own, drop what no container says to others, and leave the rest to the
 * network's chain, which knows its subnets. That the sender's MAC is its own the port sees to (`locked`), and that it sends
 * no more than that: the bridge's reserved addresses go this way, too (`takesReserved`).
 *
 * IPv6 addresses are numbers here: nft has no name for the target of a neighbour message before version 1.0.7, so that it is
 * cut out of the packet as one (RFC 4861 section 4.4: bits 64 to 191), and so is the source to be looked up beside it.
 *
 * @param tunnel the port through which the network's other hosts speak, if it has one: they look after their own containers
 */
export const frameBase = (tunnel?: string) => `
  map ports { type ifname : verdict; }
  set sources { type ifname . ether_addr . ipv4_addr; }
  set sources6 { typeof iifname . ether saddr . @nh,64,128; }
  set taken { type ipv4_addr; }
  set taken6 { typeof @nh,64,128; }
  set storms { type ifname; size 65536; flags dynamic,timeout; timeout 1m; }
  chain frames {
    type filter hook prerouting priority -400; policy accept;
${tunnel === undefined ? "" : `    iifname "${tunnel}" accept\n`}${usual.join("\n")}
    iifname vmap @ports
  }
  chain storm {
    update @storms { iifname limit rate over 1000/second burst 100 packets } drop
  }
  chain own {
    ether type ip goto from_ip
    ether type ip6 goto from_ip6
    ether type arp goto from_arp
    drop
  }
  chain from_ip {
    icmp type { redirect, router-advertisement } drop
    udp dport 68 drop
    iifname . ether saddr . ip saddr @sources accept
  }
  chain from_arp {
    @nh,0,48 != 0x000108000604 drop
    iifname . arp saddr ether . arp saddr ip @sources accept
  }
  chain target_ip6 {
    iifname . ether saddr . @th,64,128 @sources6 return
    @th,64,10 0x3fa drop
    @th,64,128 @taken6 drop
  }
  chain from_nobody {
    icmpv6 type nd-neighbor-solicit jump target_ip6
    icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } accept
    drop
  }
  chain from_ip6 {
    icmpv6 type { nd-router-advert, nd-redirect } drop
    udp dport 546 drop
    icmpv6 type nd-neighbor-advert jump target_ip6
    iifname . ether saddr . @nh,64,128 @sources6 accept
    ip6 saddr :: jump from_nobody
  }
  chain nobodys_ip6 {
    ether type ip6 @nh,64,128 != @taken6 ip6 saddr != fe80::/10 accept
  }
`;
