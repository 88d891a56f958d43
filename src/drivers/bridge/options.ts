import { forbidden, invalid, system } from "../../lib/errors.ts";
import type { NetworkSpec } from "../../model/network.ts";
import { readAddress, readBool, readLinkName, readMode, readMtu, refuseUnknown } from "../option-values.ts";

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
  enableIpv4: "com.docker.network.enable_ipv4",
  enableIpv6: "com.docker.network.enable_ipv6",
} as const;

const announced = "neighbours are written into the bridge, so that nothing has to be announced";
const refused = {
  "com.docker.network.advertise_addr_nmsgs": announced,
  "com.docker.network.advertise_addr_ms": announced,
};

/** @throws {EngineError} with Docker's text where Docker has one */
export function readOptions(spec: NetworkSpec): BridgeOptions {
  refuseUnknown(spec, Object.values(optionKeys), refused);
  /** Reads one option if it is there. */
  const read = <T>(key: string, reader: (key: string, value: string) => T): T | undefined => {
    const value = Object.hasOwn(spec.options, key) ? spec.options[key] : undefined;
    return value === undefined ? undefined : reader(key, value);
  };
  checkFamilies(spec, read);
  checkSubnets(spec);
  const mode = (key: string) => read(key, (k, v) => readMode(k, v, gatewayModes)) ?? "nat";
  const gatewayMode = { ip: mode(optionKeys.mode4), ip6: mode(optionKeys.mode6) };
  if (!spec.internal && (gatewayMode.ip === "isolated" || gatewayMode.ip6 === "isolated"))
    throw system("gateway mode 'isolated' can only be used for an internal network");
  const bridgeName = read(optionKeys.bridgeName, readLinkName);
  const mtu = read(optionKeys.mtu, readMtu);
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

type Reader = <T>(key: string, reader: (key: string, value: string) => T) => T | undefined;

/** `enable_ipv4` and `enable_ipv6` are the label form of `--ipv4` and `--ipv6`: the engine has read them into the spec. */
function checkFamilies(spec: NetworkSpec, read: Reader): void {
  for (const [key, flag, has] of [
    [optionKeys.enableIpv4, "--ipv4", spec.ipv4],
    [optionKeys.enableIpv6, "--ipv6", spec.ipv6],
  ] as const) {
    const wished = read(key, (k, v) => {
      try {
        return readBool(k, v);
      } catch {
        throw invalid(`driver-opt "${k}" is not a valid bool`);
      }
    });
    if (wished !== undefined && wished !== has) throw invalid(`driver-opt "${key}" and ${flag} contradict each other`);
  }
  if (!spec.ipv4 && !spec.ipv6) throw invalid("IPv4 or IPv6 must be enabled");
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

/** Leaves room for a number of up to four digits. */
function readPrefix(key: string, value: string): string {
  if (value.length > 11) throw invalid(`failed to parse ${key} value: ${value} (longer than 11 characters)`);
  return readLinkName(key, value);
}
