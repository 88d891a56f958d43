import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { forgetNetwork } from "../ipam/forget-network.ts";
import { conflict, invalid } from "../lib/errors.ts";
import type { AddressPool } from "../model/address-pool.ts";
import { type Network, type NetworkSpec, plainSpec, type SubnetSpec } from "../model/network.ts";
import { removeEndpoint } from "./attachments.ts";
import { createNetwork } from "./networks.ts";
import type { Parts, Settings } from "./parts.ts";

/** Networks that are there from the start and cannot be removed. Their ids stay the same for the life of the data root. */
export async function ensurePredefined(parts: Parts): Promise<void> {
  const { settings } = parts;
  await ensure(parts, {
    ...plainSpec,
    name: "host",
    driver: "host",
  });
  await ensure(parts, {
    ...plainSpec,
    name: "none",
    driver: "none",
  });
  if (settings.bridge !== "none") await ensure(parts, defaultBridge(settings));
}

/**
 * `--bridge`, `--bip` and `--ip` count at each start: where the network `bridge` was made by others, its rows go, and it is
 * made anew under the same id. What stands on it of containers that ended meanwhile goes with it.
 * @throws {EngineError} conflict while running containers are on it
 */
export async function followSettings(parts: Parts): Promise<void> {
  const rows = parts.store.snapshot();
  const known = rows.get("names", `network|bridge`);
  const network = known && rows.get("networks", known.id);
  if (network === undefined || isAsSet(network, rows.where("pools", "network", network.id), parts.settings)) return;
  const found = await parts.runtime.processes.list();
  const alive = new Set(
    found.filter((f) => f.task?.status === "running" || f.task?.status === "paused").map((f) => f.id),
  );
  const endpoints = rows.where("endpoints", "network", network.id);
  const running = endpoints.filter((e) => alive.has(e.containerId)).map((e) => e.containerName);
  if (running.length > 0) {
    const [pool] = rows.where("pools", "network", network.id);
    const bip = pool === undefined ? "" : ` --bip ${pool.gateway}/${pool.subnet.split("/")[1]}`;
    throw conflict(
      `the network bridge has other settings (--bridge, --bip, --ip) than before, and containers run on it: ${running.join(", ")}. ` +
        `Start with --bridge ${network.spec.options[nameKey]}${bip}, stop them, and start with the new settings then`,
    );
  }
  await parts.store.update((tx) => {
    for (const endpoint of endpoints) removeEndpoint(tx, endpoint.id);
    forgetNetwork(tx, network.id);
  });
}

function isAsSet(network: Network, pools: readonly AddressPool[], settings: Settings): boolean {
  if (settings.bridge === "none") return false;
  const wish = defaultBridge(settings);
  const [subnet] = wish.ipam.subnets;
  const [pool] = pools;
  const sameSubnet =
    subnet === undefined
      ? pool?.userSubnet !== true
      : pool?.gateway === subnet.gateway && pool?.subnet === subnet.subnet;
  return sameSubnet && isDeepStrictEqual(wish.options, network.spec.options);
}

async function ensure(parts: Parts, spec: NetworkSpec): Promise<void> {
  const known = parts.store.snapshot().get("names", `network|${spec.name}`);
  if (known !== undefined) return;
  const id = createHash("sha256").update(`${parts.settings.id} ${spec.name}`).digest("hex");
  await createNetwork(parts, spec, { predefined: true, id });
}

const key = "com.docker.network.bridge";
const nameKey = `${key}.name`;

/** The network `bridge` as dockerd makes it (moby daemon/daemon_unix.go initBridgeDriver). */
function defaultBridge(settings: Settings): NetworkSpec {
  const subnets = settings.bridgeAddress === undefined ? [] : [bipSubnet(settings.bridgeAddress)];
  return {
    ...plainSpec,
    name: "bridge",
    driver: "bridge",
    options: {
      [`${key}.default_bridge`]: "true",
      [`${key}.enable_icc`]: "true",
      [`${key}.enable_ip_masquerade`]: "true",
      [`${key}.host_binding_ipv4`]: settings.hostBinding,
      [nameKey]: settings.bridge,
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
