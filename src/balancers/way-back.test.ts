import assert from "node:assert/strict";
import { it } from "node:test";
import { endpointRow, networkRows } from "../../test/support/rows.ts";
import { printPlan } from "../drivers/print-plan.ts";
import { ingressMac } from "../lib/mac.ts";
import { planWayBack } from "./way-back.ts";

const rows = networkRows({ number: 1, ipv6: true });
const leg = endpointRow(rows, { member: 7, interfaceName: "eth0.1" });

it("leads a task's answers out by its leg of the ingress network", () => {
  const objects = planWayBack({ sandbox: "s", leg, pools: rows.pools, out: ["172.18.0.5"] });
  assert.equal(
    printPlan(objects),
    `ip netns exec s sysctl -w net.ipv4.conf.eth0/1.rp_filter=2
ip -n s route add 10.1.0.0/16 dev eth0.1 table 100
ip -n s route add 0.0.0.0/0 via 10.1.0.1 dev eth0.1 table 100
ip -n s neigh replace 10.1.0.1 lladdr 02:54:54:00:00:00 dev eth0.1 nud permanent
ip -n s rule add priority 100 from 10.1.0.7 lookup 100
ip netns exec s nft add element ip tombolo legs '{ "eth0.1" }'
ip netns exec s nft add element ip tombolo neighbours '{ 10.1.0.0/16 }'
ip -n s rule add priority 101 from 172.18.0.5 fwmark 0x54/0xff lookup 100
ip netns exec s nft add element ip tombolo way_out '{ "eth0.1" : 172.18.0.5 }'
ip -n s route add fd00:1::/64 dev eth0.1 table 100
ip -n s route add ::/0 via fd00:1::1 dev eth0.1 table 100
ip -n s neigh replace fd00:1::1 lladdr 02:54:54:00:00:00 dev eth0.1 nud permanent
ip -n s -6 rule add priority 100 from fd00:1::7 lookup 100
ip netns exec s nft add element ip6 tombolo legs '{ "eth0.1" }'
ip netns exec s nft add element ip6 tombolo neighbours '{ fd00:1::/64 }'
ip netns exec s nft add chain netdev tombolo learn '{ type filter hook ingress device "eth0.1" priority filter; policy accept; }'
ip netns exec s nft add rule netdev tombolo learn 'ether saddr & ff:ff:ff:00:00:00 == 02:54:54:00:00:00 update @macs { @ll,64,32 : ether saddr }'
ip netns exec s nft add chain netdev tombolo send '{ type filter hook egress device "eth0.1" priority filter; policy accept; }'
ip netns exec s nft add rule netdev tombolo send 'meta mark & 0x000000ff == 0x00000054 ether daddr set meta mark map @macs'
`,
  );
});

it("knows ingress sandboxes by what their MACs begin with", () => {
  for (const id of ["a", "b", "c"]) assert.match(ingressMac(id), /^02:54:54:(?!00:00:00$)/);
});
