import { setTimeout as sleep } from "node:timers/promises";
import { notImplemented } from "../lib/errors.ts";
import type { ContainerId } from "../model/ids.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import type { Network } from "../model/network.ts";
import type { Snapshot } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/**
 * Why containers of other hosts are not reached over an encrypted network; none where this host takes no part in it, or it
 * is not encrypted. Nothing of it leaves in clear meanwhile.
 */
export function encryptionTroubles(parts: Parts, rows: Snapshot, network: Network): string[] {
  const { tunnel, spec, id } = network;
  const driver = parts.drivers.get(spec.driver);
  if (tunnel === undefined || driver?.overHosts?.isEncrypted(driver.readOptions(spec)) !== true) return [];
  const here =
    tunnel.encryption === undefined ? "its key is not known yet" : parts.dataplane.errorOf(encryptedUnderlay)?.message;
  const others = new Map(rows.where("peers", "network", id).map((peer) => [peer.dataPath, peer]));
  const without = [...others.values()]
    .filter(({ wireguard }) => wireguard === undefined)
    .map(({ hostname }) => hostname);
  const refused = [...others.keys()].flatMap((end) => parts.dataplane.errorOf(`tunnel:${end}`)?.message ?? []);
  return [
    ...(here === undefined ? [] : [`encrypted: nothing of this network leaves the host: ${here}`]),
    ...(here !== undefined ? [] : [...new Set(refused)].map((why) => `encrypted: ${why}`)),
    ...(without.length === 0 ? [] : [`encrypted: not reached, for they have no WireGuard: ${without.join(", ")}`]),
  ];
}

const [patience, look] = [5000, 20]; // milliseconds

/**
 * Before a container runs on an encrypted network: where wireguard-go has to be started first, that is waited for.
 * @throws {EngineError} not-implemented where nothing encrypts on this host
 */
export async function encryptionReady({ store, dataplane }: Parts, container: ContainerId): Promise<void> {
  const rows = store.snapshot();
  const networks = rows.where("endpoints", "sandbox", container).map((one) => rows.get("networks", one.networkId));
  if (networks.every((network) => network?.tunnel?.encryption === undefined)) return;
  const missing = () => {
    const error = dataplane.errorOf(encryptedUnderlay);
    return error !== undefined && "code" in error && error.code === "EOPNOTSUPP" ? error : undefined;
  };
  for (const end = Date.now() + patience; missing() !== undefined && Date.now() < end; ) await sleep(look);
  const error = missing();
  if (error !== undefined) throw notImplemented(`encrypted networks are not possible on this host: ${error.message}`);
}

const slow =
  "WARNING: encrypted networks go through wireguard-go, which is many times slower than a kernel's WireGuard: this kernel has none (module wireguard)";

/** @returns lines for `docker info` where nothing encrypts, or it is not the kernel that does */
export function encryptionWarnings({ host, store, dataplane }: Pick<Parts, "host" | "store" | "dataplane">): string[] {
  const link = store
    .snapshot()
    .list("networks")
    .map(({ tunnel }) => tunnel?.encryption?.link)
    .find((one) => one !== undefined);
  if (link === undefined) return [];
  const error = dataplane.errorOf(encryptedUnderlay);
  return [
    ...(error === undefined ? [] : [`WARNING: encrypted networks end with this host: ${error.message}`]),
    ...(host.encryptedBy(link) === "wireguard-go" ? [slow] : []),
  ];
}
