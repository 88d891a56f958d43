import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkParent, checkShared, type ParentUse, planParent } from "./parent.ts";

const macvlan: ParentUse = { link: "eth0", type: "macvlan", shared: true, promiscuous: true, hostRoutes: false };
const ipvlan: ParentUse = { link: "eth0", type: "ipvlan", shared: false, promiscuous: false, hostRoutes: false };

describe("parents", () => {
  const isThere = (link: string) => ["eth0", "eth0.7", "wg0.x", "lo"].includes(link);
  for (const link of ["eth0", "eth0.7", "eth0.50", "wg0.x"])
    it(`${link} will do`, () => checkParent({ ...macvlan, link }, isThere));

  const refused: readonly (readonly [string, RegExp])[] = [
    ["lo", /^loopback interface is not a valid macvlan parent link$/],
    ["eth9", /^invalid subinterface vlan name eth9, example formatting is eth0\.10/],
    ["eth9.10", /^-o parent interface was not found on the host: eth9$/],
    ["eth0.0", /^vlan id must be between 1-4094, received: 0$/],
    ["eth0.4095", /^vlan id must be between 1-4094, received: 4095$/],
    ["eth0.ten", /^unable to parse a valid vlan id from: ten \(ex\. eth0\.10 for vlan 10\)$/],
    [
      "eth0.1.2",
      /^required interface name format is: name\.vlan_id, ex\. eth0\.10 for vlan 10, instead received eth0\.1\.2$/,
    ],
  ];
  for (const [link, text] of refused)
    it(`${link} is refused`, () => assert.throws(() => checkParent({ ...macvlan, link }, isThere), { message: text }));

  it("are shared by macvlan networks, but not in passthru, nor with or by ipvlan", () => {
    const passthru = { ...macvlan, shared: false };
    checkShared(macvlan, [{ ...macvlan, network: "a" }]);
    checkShared(ipvlan, []);
    const texts = [
      [passthru, macvlan, "cannot use mode passthru, macvlan network a is already using parent interface eth0"],
      [macvlan, passthru, "macvlan network a is already using parent interface eth0 in mode passthru"],
      [ipvlan, ipvlan, "network a is already using parent interface eth0"],
      [
        ipvlan,
        macvlan,
        "macvlan network a is already using parent interface eth0: Linux does not let macvlan and ipvlan share one",
      ],
    ] as const;
    for (const [use, other, message] of texts)
      assert.throws(() => checkShared(use, [{ ...other, network: "a" }]), { message });
  });

  it("want what any of their networks wants, and nothing without one", () => {
    const wants = (...uses: ParentUse[]) => planParent("eth0.7", uses).map((o) => (o.kind === "parent" ? o : o.kind));
    assert.deepEqual(wants(), []);
    const parent = { kind: "parent", namespace: "host", link: "eth0.7" };
    assert.deepEqual(wants(ipvlan), ["link", { ...parent, promiscuous: false }]);
    assert.deepEqual(wants(ipvlan, macvlan), ["link", { ...parent, promiscuous: true }]);
  });
});
