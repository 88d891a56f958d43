import type { DriverFixture } from "../../../test/contract/driver.ts";
import type { LinkObject } from "../../model/plan.ts";
import { optionKeys } from "./options.ts";

const lan: LinkObject = { kind: "link", type: "bridge", namespace: "host", name: "lan0" };
const on = (more: Readonly<Record<string, string>> = {}) => ({ [optionKeys.parent]: "lan0", ...more });

export const fixture: DriverFixture = {
  optionKeys: Object.values(optionKeys),
  cases: [
    {
      title: "-o parent=lan0 --ipv6, two containers",
      network: { ipv6: true, options: on() },
      endpoints: [{ member: 2 }, { member: 3 }],
      there: [lan],
      needs: "ipvlan",
    },
    {
      title: "-o ipvlan_mode=l3 -o com.docker.network.container_iface_prefix=lan",
      network: {
        ipv6: true,
        options: on({
          [optionKeys.mode]: "l3",
          [optionKeys.prefix]: "lan",
          [optionKeys.enableIpv4]: "true",
          [optionKeys.enableIpv6]: "true",
        }),
      },
      endpoints: [{ member: 2, interfaceName: "lan0" }],
      there: [lan],
      needs: "ipvlan",
    },
    {
      title: "-o ipvlan_mode=l3s -o ipvlan_flag=private -o com.docker.network.driver.mtu=1400",
      network: {
        options: on({ [optionKeys.mode]: "l3s", [optionKeys.flag]: "private", [optionKeys.mtu]: "1400" }),
      },
      endpoints: [{ member: 2 }],
      there: [lan],
      needs: "ipvlan",
    },
    {
      title: "--internal: without a parent",
      network: { internal: true, options: { [optionKeys.addressProbe]: "false" } },
      endpoints: [{ member: 2 }],
      needs: "ipvlan",
    },
  ],
  refused: [
    [
      { options: on({ [optionKeys.announcementNumber]: "-1" }) },
      "com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3",
    ],
    [
      { options: on({ [optionKeys.announcementInterval]: "2001" }) },
      "com.docker.network.advertise_addr_ms must be in the range 100 to 2000",
    ],
    [
      { options: on({ [optionKeys.mode]: "l4" }) },
      "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default",
    ],
    [
      { options: on({ [optionKeys.flag]: "open" }) },
      "requested ipvlan flag 'open' is not valid, 'bridge' flag is the ipvlan driver default",
    ],
    [
      { internal: true, options: on() },
      "conflicting options: --internal and -o parent=lan0: an internal ipvlan network has a segment of its own, without a parent",
    ],
    [
      { options: on({ [optionKeys.mode]: "l3", [optionKeys.addressProbe]: "true" }) },
      "conflicting options: address_probe and ipvlan_mode=l3: nobody asks for neighbours in that mode",
    ],
  ],
};
