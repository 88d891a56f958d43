import { forbidden, system } from "../../lib/errors.ts";
import type { NetworkSpec } from "../../model/network.ts";
import {
  checkFamilies,
  familyKeys,
  optionReader,
  readAddress,
  readBool,
  readLinkName,
  readMode,
  mtuReader,
  readPrefix,
  refuseUnknown,
} from "../option-values.ts";

/** How a network's addresses meet the world (Docker: `gateway_mode_ipv4`). */
export const gatewayModes = ["nat", "nat-unprotected", "routed", "isolated"] as const;
export type GatewayMode = (typeof gatewayModes)[number];

/** The options of one bridge network, checked. */
export interface BridgeOptions {
  /** Absent means `br-` and 12 digits of the network's id. */
  readonly bridgeName?: string;
  /** The daemon's own `bridge`: its link is never somebody else's. */
  readonly isDefault: boolean;
  readonly mtu?: number;
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Host address of published ports that name none; absent means the daemon's `--ip`. */
  readonly hostBinding?: string;
  readonly gatewayMode: { readonly ip: GatewayMode; readonly ip6: GatewayMode };
  /** Source address of packets that leave, in place of the leaving interface's. */
  readonly hostAddress: { readonly ip?: string; readonly ip6?: string };
  /** Host interfaces that may reach container addresses directly. */
  readonly trustedInterfaces: readonly string[];
  readonly inhibitIpv4: boolean;
  readonly interfacePrefix: string;
}

const bridge = "com.docker.network.bridge";
/** Every key of `-o` that this driver honours, under the name the code has for it. */
export const optionKeys = {
  bridgeName: `${bridge}.name`,
  defaultBridge: `${bridge}.default_bridge`,
  icc: `${bridge}.enable_icc`,
  masquerade: `${bridge}.enable_ip_masquerade`,
  hostBinding: `${bridge}.host_binding_ipv4`,
  mode4: `${bridge}.gateway_mode_ipv4`,
  mode6: `${bridge}.gateway_mode_ipv6`,
  trusted: `${bridge}.trusted_host_interfaces`,
  inhibitIpv4: `${bridge}.inhibit_ipv4`,
  mtu: "com.docker.network.driver.mtu",
  prefix: "com.docker.network.container_iface_prefix",
  hostIpv4: "com.docker.network.host_ipv4",
  hostIpv6: "com.docker.network.host_ipv6",
  ...familyKeys,
} as const;

const announced = "neighbours are written into the bridge, so that nothing has to be announced";
const refused = {
  "com.docker.network.advertise_addr_nmsgs": announced,
  "com.docker.network.advertise_addr_ms": announced,
};

/** @throws {EngineError} with Docker's text where Docker has one */
export function readOptions(spec: NetworkSpec): BridgeOptions {
  refuseUnknown(spec, Object.values(optionKeys), refused);
  const read = optionReader(spec);
  checkFamilies(spec);
  checkSubnets(spec);
  const mode = (key: string) => read(key, (k, v) => readMode(k, v, gatewayModes)) ?? "nat";
  const gatewayMode = { ip: mode(optionKeys.mode4), ip6: mode(optionKeys.mode6) };
  if (!spec.internal && (gatewayMode.ip === "isolated" || gatewayMode.ip6 === "isolated"))
    throw system("gateway mode 'isolated' can only be used for an internal network");
  const bridgeName = read(optionKeys.bridgeName, readLinkName);
  const mtu = read(optionKeys.mtu, mtuReader(spec));
  const hostBinding = read(optionKeys.hostBinding, (k, v) => readAddress(k, v));
  const ip = read(optionKeys.hostIpv4, (k, v) => readAddress(k, v, 4));
  const ip6 = read(optionKeys.hostIpv6, (k, v) => readAddress(k, v, 6));
  return {
    ...(bridgeName !== undefined && { bridgeName }),
    isDefault: read(optionKeys.defaultBridge, readBool) ?? false,
    ...(mtu !== undefined && { mtu }),
    ...(hostBinding !== undefined && { hostBinding }),
    icc: read(optionKeys.icc, readBool) ?? true,
    masquerade: read(optionKeys.masquerade, readBool) ?? true,
    gatewayMode,
    hostAddress: { ...(ip !== undefined && { ip }), ...(ip6 !== undefined && { ip6 }) },
    trustedInterfaces: read(optionKeys.trusted, (k, v) => readList(k, v)) ?? [],
    inhibitIpv4: read(optionKeys.inhibitIpv4, readBool) ?? false,
    interfacePrefix: read(optionKeys.prefix, readPrefix) ?? "eth",
  };
}

function checkSubnets(spec: NetworkSpec): void {
  const subnets = spec.ipam.subnets.map((s) => s.subnet).filter((s) => s !== undefined);
  const six = subnets.filter((s) => s.includes(":")).length;
  if (six > 1 || subnets.length - six > 1) throw forbidden("bridge driver doesn't support multiple subnets");
}

/** `eth1:eth2` */
function readList(key: string, value: string): string[] {
  return value
    .split(":")
    .filter((name) => name !== "")
    .map((name) => readLinkName(key, name));
}
