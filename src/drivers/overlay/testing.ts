import type { DriverCase, DriverFixture, DriverWish, PeerWish } from "../../../test/contract/driver.ts";
import type { OwnEnd } from "../../model/wireguard.ts";
import { optionKeys } from "./options.ts";

const over4: DriverWish = { vni: 4097, tunnel: { udpPort: 4789, local: "192.0.2.1", mtu: 1450 } };
const over6: DriverWish = { vni: 4097, tunnel: { udpPort: 4789, local: "2001:db8::1", mtu: 1430 } };
const encryption = { address: "fdee:1:1:ad3e:ffde:cae4:8d9c:33d7", mtu: 1440 };
const key = (first: string, last: string) => first.repeat(42) + last + "=";
const own: OwnEnd = {
  id: "c",
  keys: [{ generation: 6, publicKey: key("A", "E"), link: "twg0123456789ab", udpPort: 4793 }],
  sends: 6,
  answered: {},
};
/** While keys are rotated: one host has answered to the new one, the other has none yet. */
const rotating: OwnEnd = {
  ...own,
  keys: [...own.keys, { generation: 7, publicKey: key("A", "I"), link: "twh0123456789ab", udpPort: 4794 }],
  answered: { "192.0.2.8": 7 },
};
/** Not on Linux: nobody has the private key. There test/kernel/encryption.test.ts is for them. */
const needs = "the fixture's key";
/** The encrypted network's tunnel, and where the others are in there. */
const sealed4: DriverWish = { vni: 4097, tunnel: { udpPort: 4789, local: "192.0.2.1", mtu: 1450, encryption } };
const sealedPeers = (of: readonly PeerWish[]) =>
  of.map((peer) => {
    const last = peer.dataPath.at(-1) ?? "";
    const keys = [{ generation: 6, publicKey: key("B", last) }];
    return { ...peer, end: { address: `fdee:1:1::${last}`, keys, sends: 6 } };
  });
const rotatingPeers = (of: readonly PeerWish[]) =>
  sealedPeers(of).map((peer) => {
    const keys = [...peer.end.keys, { generation: 7, publicKey: key("C", peer.dataPath.at(-1) ?? "") }];
    return peer.dataPath === "192.0.2.7" ? peer : { ...peer, end: { ...peer.end, keys } };
  });
const endpoints = [{ member: 2 }, { member: 3 }];
const peers: readonly PeerWish[] = [
  { member: 4, dataPath: "192.0.2.7" },
  { member: 5, dataPath: "192.0.2.8" },
  { member: 6, dataPath: "192.0.2.8" },
];

/** A case that differs from the first one by options and what else is given. */
const dual = (
  title: string,
  options: Readonly<Record<string, string>>,
  rest: Partial<DriverCase> = {},
): DriverCase => ({ title, network: { ...over4, ipv6: true, options }, endpoints, peers, ...rest });

export const fixture: DriverFixture = {
  optionKeys: Object.values(optionKeys),
  cases: [
    dual("IPv4 and IPv6, two containers here, one on a second host and two on a third", {}),
    { title: "IPv4 only", network: over4, endpoints, peers },
    { title: "IPv6 only", network: { ...over4, ipv4: false, ipv6: true }, endpoints, peers },
    {
      title: "between hosts with IPv6 addresses",
      network: { ...over6, ipv6: true },
      endpoints,
      peers: peers.map((peer) => ({ ...peer, dataPath: peer.dataPath.replace("192.0.2.", "2001:db8::") })),
    },
    dual("-o multicast=true", { [optionKeys.multicast]: "true" }),
    dual("-o com.docker.network.driver.mtu=1400: containers have what the tunnel leaves of it", {
      [optionKeys.mtu]: "1400",
    }),
    dual("-o com.docker.network.driver.mtu=9000: more than fits between the hosts", { [optionKeys.mtu]: "9000" }),
    dual(
      "--opt encrypted: the tunnel goes through WireGuard",
      { [optionKeys.encrypted]: "" },
      {
        network: { ...sealed4, ipv6: true, options: { [optionKeys.encrypted]: "" } },
        peers: sealedPeers(peers),
        own,
        needs,
      },
    ),
    dual(
      "--opt encrypted while keys are rotated: one host has none yet, the other has answered",
      { [optionKeys.encrypted]: "" },
      {
        network: { ...sealed4, ipv6: true, options: { [optionKeys.encrypted]: "" } },
        peers: rotatingPeers(peers),
        own: rotating,
        needs,
      },
    ),
    dual(
      "--opt encrypted with -o multicast=true and a smaller MTU",
      {},
      {
        network: {
          ...sealed4,
          ipv6: true,
          options: { [optionKeys.encrypted]: "true", [optionKeys.multicast]: "true", [optionKeys.mtu]: "1440" },
        },
        peers: sealedPeers(peers),
        own,
        needs,
      },
    ),
    dual(
      "--opt encrypted where the others have no key",
      {},
      {
        network: { ...sealed4, ipv6: true, options: { [optionKeys.encrypted]: "" } },
        own,
        needs,
      },
    ),
    dual("--opt encrypted before this host has a key: nothing leaves it", { [optionKeys.encrypted]: "" }),
    dual("--opt encrypted=false", { [optionKeys.encrypted]: "false" }),
    dual("with another name inside", {
      [optionKeys.vni]: "4097",
      [optionKeys.prefix]: "net",
      [optionKeys.enableIpv4]: "true",
      [optionKeys.enableIpv6]: "true",
    }),
    dual(
      "with the cluster's rows of what is here",
      {},
      { peers: [...endpoints.map((wish) => ({ ...wish, dataPath: "192.0.2.1" })), ...peers] },
    ),
    dual(
      "with containers on the root and on two leaf bridges",
      {},
      { endpoints: [{ member: 2 }, { member: 3, leaf: 1 }, { member: 7, leaf: 1 }, { member: 8, leaf: 2 }] },
    ),
    {
      title: "on a manager that takes no part",
      network: { vni: 4097, ipv6: true },
      endpoints: [],
      peers,
    },
  ],
  refused: [
    [
      { options: { [optionKeys.encrypted]: "yes" } },
      'failed to parse encrypted value: yes (strconv.ParseBool: parsing "yes": invalid syntax)',
    ],
    [
      { options: { [optionKeys.multicast]: "" } },
      'failed to parse multicast value:  (strconv.ParseBool: parsing "": invalid syntax)',
    ],
    [{ options: { [optionKeys.vni]: "0" } }, 'invalid vxlan id value "0" passed: 1 to 16777215'],
    [{ options: { [optionKeys.vni]: "16777216" } }, 'invalid vxlan id value "16777216" passed: 1 to 16777215'],
    [{ options: { [optionKeys.vni]: "4097,x" } }, 'invalid vxlan id value "x" passed: 1 to 16777215'],
    [
      { options: { [optionKeys.vni]: "4097,4098" } },
      "com.docker.network.driver.overlay.vxlanid_list: 2 ids for a network that has one",
    ],
    [
      { options: { [optionKeys.mtu]: "abc" } },
      `failed to parse ${optionKeys.mtu} value: abc (strconv.Atoi: parsing "abc": invalid syntax)`,
    ],
    [
      { options: { [optionKeys.mtu]: "137" } },
      "invalid MTU number: 137: the tunnel takes up to 70 bytes of it, so that it must be 138 or more",
    ],
    [
      { ipv6: true, options: { [optionKeys.mtu]: "1349" } },
      "invalid MTU number: 1349: the tunnel takes up to 70 bytes of it, so that it must be 1350 or more",
    ],
    [
      { ipv6: true, options: { [optionKeys.encrypted]: "", [optionKeys.mtu]: "1429" } },
      "invalid MTU number: 1429: the tunnel takes up to 150 bytes of it, so that it must be 1430 or more",
    ],
    [
      { options: { [optionKeys.prefix]: "aVeryLongName" } },
      `failed to parse ${optionKeys.prefix} value: aVeryLongName (longer than 11 characters)`,
    ],
    [
      { options: { [optionKeys.enableIpv6]: "true" } },
      `driver-opt "${optionKeys.enableIpv6}" and --ipv6 contradict each other`,
    ],
    [{ ipv4: false }, "IPv4 or IPv6 must be enabled"],
  ],
};
