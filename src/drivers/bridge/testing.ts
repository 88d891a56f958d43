import type { DriverCase, DriverFixture, EndpointWish } from "../../../test/contract/driver.ts";
import type { PortBinding } from "../../model/endpoint.ts";
import { optionKeys } from "./options.ts";

const everywhere: readonly PortBinding[] = [
  { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 },
  { protocol: "tcp", containerPort: 80, hostIp: "::", hostPort: 8080 },
];
const onLoopback: PortBinding = { protocol: "udp", containerPort: 53, hostIp: "127.0.0.1", hostPort: 5353 };
const first: EndpointWish = { member: 2, ports: [...everywhere, onLoopback] };
const second: EndpointWish = { member: 3 };
const endpoints = [first, second];
const onLeaves: readonly EndpointWish[] = [
  first,
  { ...second, leaf: 1 },
  { member: 4, leaf: 1 },
  { member: 5, leaf: 2 },
];
const both = (mode: string) => ({ [optionKeys.mode4]: mode, [optionKeys.mode6]: mode });

/** A case that differs from the first one by options and what else is given. */
const dual = (
  title: string,
  options: Readonly<Record<string, string>>,
  rest: Partial<DriverCase> = {},
): DriverCase => ({
  title,
  network: { ipv6: true, options },
  endpoints,
  ...rest,
});

export const fixture: DriverFixture = {
  optionKeys: Object.values(optionKeys),
  cases: [
    dual("IPv4 and IPv6, two containers, one with published ports", {}),
    { title: "IPv4 only", network: {}, endpoints },
    { title: "IPv6 only", network: { ipv4: false, ipv6: true }, endpoints },
    { title: "internal", network: { ipv6: true, internal: true }, endpoints },
    {
      title: "internal, isolated from the host",
      network: { ipv6: true, internal: true, options: both("isolated") },
      endpoints,
    },
    dual("without traffic between containers", { [optionKeys.icc]: "false" }),
    {
      title: "internal, without traffic between containers",
      network: { ipv6: true, internal: true, options: { [optionKeys.icc]: "false" } },
      endpoints,
    },
    dual("routed", both("routed")),
    dual("open to the outside", both("nat-unprotected")),
    dual("without masquerading", { [optionKeys.masquerade]: "false" }),
    dual("with a source address of its own", {
      [optionKeys.hostIpv4]: "192.0.2.7",
      [optionKeys.hostIpv6]: "2001:db8::7",
    }),
    dual("with trusted interfaces", { [optionKeys.trusted]: "lan0:lan1" }),
    dual("with a smaller MTU", { [optionKeys.mtu]: "1400" }),
    dual("without an IPv4 address on the bridge", { [optionKeys.inhibitIpv4]: "true" }),
    dual(
      "on a bridge that is there already",
      { [optionKeys.bridgeName]: "br0.9" },
      { there: [{ kind: "link", type: "bridge", namespace: "host", name: "br0.9" }] },
    ),
    {
      title: "the daemon's own bridge",
      network: {
        options: {
          [optionKeys.defaultBridge]: "true",
          [optionKeys.icc]: "true",
          [optionKeys.masquerade]: "true",
          [optionKeys.hostBinding]: "0.0.0.0",
          [optionKeys.bridgeName]: "docker0",
          [optionKeys.mtu]: "1500",
        },
      },
      endpoints,
    },
    dual(
      "with link-local addresses and a sysctl",
      {},
      {
        endpoints: [
          {
            ...first,
            linkLocal: ["169.254.7.8", "fe80::77"],
            sysctls: { "net.ipv4.conf.eth0.log_martians": "1" },
          },
          second,
        ],
      },
    ),
    dual(
      "with another name inside",
      { [optionKeys.prefix]: "net", [optionKeys.enableIpv4]: "true", [optionKeys.enableIpv6]: "true" },
      { endpoints: [first, { ...second, interfaceName: "net0" }] },
    ),
    dual("with containers on the root and on two leaf bridges", {}, { endpoints: onLeaves }),
    dual(
      "with containers on leaf bridges, without traffic between them, of a bridge that is there already",
      { [optionKeys.bridgeName]: "br0.9", [optionKeys.icc]: "false", [optionKeys.mtu]: "1400" },
      { endpoints: onLeaves, there: [{ kind: "link", type: "bridge", namespace: "host", name: "br0.9" }] },
    ),
  ],
  refused: [
    [
      { options: { [optionKeys.icc]: "maybe" } },
      `failed to parse ${optionKeys.icc} value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)`,
    ],
    [
      { options: { [optionKeys.masquerade]: "" } },
      `failed to parse ${optionKeys.masquerade} value:  (strconv.ParseBool: parsing "": invalid syntax)`,
    ],
    [{ options: { [optionKeys.mtu]: "-1" } }, "invalid MTU number: -1"],
    [{ options: { [optionKeys.mtu]: "67" } }, "invalid MTU number: 67"],
    [{ options: { [optionKeys.mtu]: "65536" } }, "invalid MTU number: 65536"],
    [
      { options: { [optionKeys.mtu]: "1e3" } },
      `failed to parse ${optionKeys.mtu} value: 1e3 (strconv.Atoi: parsing "1e3": invalid syntax)`,
    ],
    [
      { options: { [optionKeys.mode4]: "bridge" } },
      `failed to parse ${optionKeys.mode4} value: bridge (unknown gateway mode bridge)`,
    ],
    [
      { options: { [optionKeys.mode6]: "isolated" } },
      "gateway mode 'isolated' can only be used for an internal network",
    ],
    [
      { options: { [optionKeys.hostBinding]: "here" } },
      `failed to parse ${optionKeys.hostBinding} value: here (nil ip)`,
    ],
    [
      { options: { [optionKeys.hostIpv4]: "2001:db8::1" } },
      `failed to parse ${optionKeys.hostIpv4} value: 2001:db8::1 (not an IPv4 address)`,
    ],
    [
      { options: { [optionKeys.bridgeName]: 'a" accept' } },
      `failed to parse ${optionKeys.bridgeName} value: a" accept (an interface name has 1 to 15 letters, digits, '.', '_' or '-')`,
    ],
    [
      { options: { [optionKeys.trusted]: "eth1:eth/2" } },
      `failed to parse ${optionKeys.trusted} value: eth/2 (an interface name has 1 to 15 letters, digits, '.', '_' or '-')`,
    ],
    [
      { options: { [optionKeys.prefix]: "aVeryLongName" } },
      `failed to parse ${optionKeys.prefix} value: aVeryLongName (longer than 11 characters)`,
    ],
    [{ options: { [optionKeys.enableIpv6]: "perhaps" } }, `driver-opt "${optionKeys.enableIpv6}" is not a valid bool`],
    [
      { options: { [optionKeys.enableIpv6]: "true" } },
      `driver-opt "${optionKeys.enableIpv6}" and --ipv6 contradict each other`,
    ],
    [{ ipv4: false }, "IPv4 or IPv6 must be enabled"],
    [
      { options: { "com.docker.network.advertise_addr_ms": "100" } },
      "option com.docker.network.advertise_addr_ms is not supported by the bridge driver: neighbours are written into the bridge, so that nothing has to be announced",
    ],
  ],
};
