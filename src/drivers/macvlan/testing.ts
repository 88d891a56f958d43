import type { DriverFixture } from "../../../test/contract/driver.ts";
import type { LinkObject } from "../../model/plan.ts";
import { optionKeys } from "./options.ts";

const lan: LinkObject = { kind: "link", type: "bridge", namespace: "host", name: "lan0" };
const on = (parent: string, more: Readonly<Record<string, string>> = {}) => ({ [optionKeys.parent]: parent, ...more });

export const fixture: DriverFixture = {
  optionKeys: Object.values(optionKeys),
  cases: [
    {
      title: "-o parent=lan0 --ipv6, two containers",
      network: { ipv6: true, options: on("lan0") },
      endpoints: [{ member: 2 }, { member: 3, sysctls: { "net.ipv4.conf.eth0.log_martians": "1" } }],
      there: [lan],
    },
    {
      title: "-o macvlan_mode=private -o address_probe=false -o com.docker.network.container_iface_prefix=lan",
      network: {
        options: on("lan0", {
          [optionKeys.mode]: "private",
          [optionKeys.addressProbe]: "false",
          [optionKeys.prefix]: "lan",
          [optionKeys.enableIpv4]: "true",
          [optionKeys.enableIpv6]: "false",
        }),
      },
      endpoints: [{ member: 2, interfaceName: "lan0" }],
      there: [lan],
    },
    {
      title: "-o macvlan_mode=passthru",
      network: { options: on("lan0", { [optionKeys.mode]: "passthru" }) },
      endpoints: [{ member: 2 }],
      there: [lan],
    },
    {
      title: "-o host_access=true -o host_address=10.1.0.200,fd00:1::200 -o com.docker.network.driver.mtu=1400",
      network: {
        ipv6: true,
        options: on("lan0", {
          [optionKeys.hostAccess]: "true",
          [optionKeys.hostAddress]: "10.1.0.200,fd00:1::200",
          [optionKeys.mtu]: "1400",
        }),
      },
      endpoints: [{ member: 2 }],
      there: [lan],
    },
    {
      title: "--internal: without a parent",
      network: { internal: true, options: { [optionKeys.mtu]: "1400" } },
      endpoints: [{ member: 2 }],
    },
    {
      title: "-o parent=lan0.50: a VLAN",
      network: { options: on("lan0.50") },
      endpoints: [{ member: 2 }],
      there: [lan],
      needs: "vlan",
    },
  ],
  refused: [
    [
      { options: on("lan0", { [optionKeys.mode]: "hub" }) },
      "requested macvlan mode 'hub' is not valid, 'bridge' mode is the macvlan driver default",
    ],
    [
      { options: on("lan 0") },
      "failed to parse parent value: lan 0 (an interface name has 1 to 15 letters, digits, '.', '_' or '-')",
    ],
    [
      { internal: true, options: on("lan0") },
      "conflicting options: --internal and -o parent=lan0: an internal macvlan network has a segment of its own, without a parent",
    ],
    [{ options: { [optionKeys.hostAccess]: "true" } }, "conflicting options: host_access needs a parent"],
    [
      { options: on("lan0", { [optionKeys.hostAccess]: "true", [optionKeys.mode]: "vepa" }) },
      "conflicting options: host_access and macvlan_mode=vepa: only in mode bridge do interfaces of one parent reach each other",
    ],
    [
      { options: on("lan0", { [optionKeys.hostAddress]: "10.1.0.200" }) },
      "conflicting options: host_address needs host_access=true",
    ],
    [
      { options: on("lan0", { [optionKeys.hostAccess]: "true", [optionKeys.hostAddress]: "10.1.0.200,here" }) },
      "failed to parse host_address value: 10.1.0.200,here (here is no IP address)",
    ],
    [
      { options: on("lan0", { [optionKeys.hostAccess]: "true", [optionKeys.hostAddress]: "10.1.0.200,10.1.0.201" }) },
      "failed to parse host_address value: 10.1.0.200,10.1.0.201 (two addresses of one family)",
    ],
    [
      { ipv6: true, options: on("lan0", { [optionKeys.hostAccess]: "true" }) },
      "host_access on a network with IPv6 needs an IPv6 address of the host's own, like -o host_address=fd00::2: Linux answers neighbour solicitations only for addresses of the interface that hears them",
    ],
    [
      { options: on("lan0", { [optionKeys.addressProbe]: "maybe" }) },
      'failed to parse address_probe value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)',
    ],
    [{ ipv4: false, options: on("lan0") }, "IPv4 or IPv6 must be enabled"],
    [
      { options: on("lan0", { [optionKeys.announcementNumber]: "4" }) },
      "com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3",
    ],
    [
      { options: on("lan0", { [optionKeys.announcementInterval]: "99" }) },
      "com.docker.network.advertise_addr_ms must be in the range 100 to 2000",
    ],
    [
      { options: on("lan0", { [optionKeys.announcementInterval]: "1s" }) },
      'value for option com.docker.network.advertise_addr_ms "1s" must be integer milliseconds',
    ],
  ],
};
