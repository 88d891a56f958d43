import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { invalid } from "../lib/errors.ts";
import type { NetworkSpec, SubnetSpec } from "../model/network.ts";
import { createNetwork } from "./networks.ts";
import type { Parts, Settings } from "./parts.ts";

const empty = {
  labels: {},
  options: {},
  ipv4: true,
  ipv6: false,
  internal: false,
  attachable: false,
  ingress: false,
  configOnly: false,
} as const;

/** Networks that are there from the start and cannot be removed. Their ids stay the same for the life of the data root. */
export async function ensurePredefined(parts: Parts): Promise<void> {
  const { settings } = parts;
  await ensure(parts, {
    ...empty,
    name: "host",
    driver: "host",
    ipam: { driver: "default", options: {}, subnets: [] },
  });
  await ensure(parts, {
    ...empty,
    name: "none",
    driver: "none",
    ipam: { driver: "default", options: {}, subnets: [] },
  });
  if (settings.bridge !== "none") await ensure(parts, defaultBridge(settings));
}

async function ensure(parts: Parts, spec: NetworkSpec): Promise<void> {
  const known = parts.store.snapshot().get("names", `network|${spec.name}`);
  if (known !== undefined) return;
  const id = createHash("sha256").update(`${parts.settings.id} ${spec.name}`).digest("hex");
  await createNetwork(parts, spec, { predefined: true, id });
}

/** The network `bridge` as dockerd makes it (moby daemon/daemon_unix.go initBridgeDriver). */
function defaultBridge(settings: Settings): NetworkSpec {
  const subnets = settings.bridgeAddress === undefined ? [] : [bipSubnet(settings.bridgeAddress)];
  const key = "com.docker.network.bridge";
  return {
    ...empty,
    name: "bridge",
    driver: "bridge",
    options: {
      [`${key}.default_bridge`]: "true",
      [`${key}.enable_icc`]: "true",
      [`${key}.enable_ip_masquerade`]: "true",
      [`${key}.host_binding_ipv4`]: settings.hostBinding,
      [`${key}.name`]: settings.bridge,
      "com.docker.network.driver.mtu": "1500",
    },
    ipam: { driver: "default", options: {}, subnets },
  };
}

/** `--bip 10.1.0.1/16` names the gateway and with it the subnet. @throws {EngineError} invalid */
export function bipSubnet(cidr: string): SubnetSpec {
  const [gateway = "", length = ""] = cidr.split("/");
  const bits = Number(length);
  if (isIP(gateway) !== 4 || !/^\d{1,2}$/.test(length) || bits < 1 || bits > 30)
    throw invalid(`invalid value for --bip: "${cidr}" is not an IPv4 address with a prefix length, like 172.17.0.1/16`);
  const number = gateway.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const first = number - (number % 2 ** (32 - bits));
  if (first === number) throw invalid(`invalid value for --bip: ${gateway} is the network's own address`);
  const text = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join(".");
  return { subnet: `${text}/${bits}`, gateway, auxiliary: {} };
}
