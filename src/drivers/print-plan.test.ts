import assert from "node:assert/strict";
import { it } from "node:test";
import { printPlan } from "./print-plan.ts";

it("prints what a tunnel is made with by hand", () => {
  const namespace = "network:0k3v9m2q";
  const port = { bridge: "br0", isolated: false, hairpin: false, learning: false, proxyArp: true };
  const tunnel = { kind: "tunnel", namespace, link: "vx0", destination: "192.0.2.2" } as const;
  const text = printPlan([
    { kind: "namespace", namespace },
    {
      kind: "link",
      type: "vxlan",
      namespace,
      name: "vx0",
      mtu: 1450,
      vni: 4097,
      udpPort: 4789,
      local: "192.0.2.1",
      port,
    },
    { ...tunnel, mac: "02:00:00:00:00:01" },
    { ...tunnel, mac: "00:00:00:00:00:00" },
  ]);
  assert.equal(
    text,
    `ip netns add 0k3v9m2q
ip -n 0k3v9m2q link set lo up
ip link add moving0 mtu 1450 type vxlan id 4097 local 192.0.2.1 dstport 4789 nolearning
ip link set moving0 netns 0k3v9m2q name vx0
ip -n 0k3v9m2q link set vx0 up
ip -n 0k3v9m2q link set vx0 master br0
ip -n 0k3v9m2q link set vx0 type bridge_slave isolated off hairpin off learning off group_fwd_mask 0xfffd proxy_arp_wifi on
bridge -n 0k3v9m2q fdb replace 02:00:00:00:00:01 dev vx0 dst 192.0.2.2
bridge -n 0k3v9m2q fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.2
`,
  );
});

it("prints routes in another table, and the rules that lead there", () => {
  const namespace = "sandbox:0k3v9m2q";
  const rule = { kind: "rule", namespace, priority: 100, table: 100 } as const;
  assert.equal(
    printPlan([
      { kind: "route", namespace, to: "0.0.0.0/0", link: "eth0", via: "10.0.0.1", table: 100 },
      { ...rule, from: "10.0.0.7" },
      { ...rule, from: "fd00::7", mark: { value: 0x54, mask: 0xff } },
    ]),
    `ip -n 0k3v9m2q route add 0.0.0.0/0 via 10.0.0.1 dev eth0 table 100
ip -n 0k3v9m2q rule add priority 100 from 10.0.0.7 lookup 100
ip -n 0k3v9m2q -6 rule add priority 100 from fd00::7 fwmark 0x54/0xff lookup 100
`,
  );
});
