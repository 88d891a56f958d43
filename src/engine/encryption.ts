import { setTimeout as sleep } from "node:timers/promises";
import { encryptionLack } from "../cluster/encryption.ts";
import { notImplemented } from "../lib/errors.ts";
import type { ContainerId } from "../model/ids.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import { generationTo, isSilent, type OwnEnd, type WireguardEnd } from "../model/wireguard.ts";
import type { Snapshot } from "../store/store.ts";
import { nodesAtWork } from "./nodes.ts";
import type { Parts } from "./parts.ts";

/** Which nodes at work cannot encrypt, and why. @param rows the cluster's, where they can be read */
export function lackOfEncryption(rows: Snapshot | undefined): string[] {
  const groups = Map.groupBy(rows ? nodesAtWork(rows) : [], encryptionLack);
  return [...groups].flatMap(([lack, nodes]) => {
    const names = nodes.map(({ hostname }) => hostname).toSorted();
    return lack === undefined ? [] : [`encrypted networks are not possible on ${names.join(", ")}: ${lack}`];
  });
}

/**
 * Before an encrypted network is made. @param rows the cluster's
 * @returns what the user should know; "" when all nodes can encrypt
 * @throws {EngineError} not-implemented when none can
 */
export function checkEncryption(rows: Snapshot): string {
  const text = lackOfEncryption(rows).join("; ");
  if (nodesAtWork(rows).every((node) => encryptionLack(node) !== undefined)) throw notImplemented(text);
  return text;
}

/**
 * Why containers of other hosts are not reached over an encrypted network; none where this host takes no part in it, or it
 * is not encrypted. Nothing of it leaves in clear meanwhile.
 */
export function encryptionTroubles(parts: Parts, rows: Snapshot, network: Network): string[] {
  const { tunnel, isEncrypted, id } = network;
  if (tunnel === undefined || isEncrypted === undefined) return [];
  const [own] = rows.list("ownEnds");
  const here = own === undefined ? "it has no key yet" : parts.dataplane.errorOf(encryptedUnderlay)?.message;
  if (own === undefined || here !== undefined) return [`encrypted: nothing of this network leaves the host: ${here}`];
  const others = [...new Map(rows.where("peers", "network", id).map((peer) => [peer.dataPath, peer])).values()];
  const refused = others.flatMap(({ dataPath }) => parts.dataplane.errorOf(`tunnel:${dataPath}`)?.message ?? []);
  return [...new Set(refused), ...othersTroubles(own, others, rows)].map((why) => `encrypted: ${why}`);
}

/** Hosts that are not reached, or not as they should be, by name. */
function othersTroubles(own: OwnEnd, others: readonly Peer[], rows: Snapshot): string[] {
  const troubles: readonly (readonly [string, (peer: Peer, end: WireguardEnd | undefined) => boolean])[] = [
    ["not reached, for they have no WireGuard", ({ wireguardAddress }) => wireguardAddress === undefined],
    [
      "not reached, for their keys are not known",
      ({ wireguardAddress }, end) =>
        wireguardAddress !== undefined && (end === undefined || generationTo(own, end) === undefined),
    ],
    [
      `on the keys before, for they do not answer on UDP port ${own.keys.at(-1)?.udpPort}`,
      (_, end) => end !== undefined && isSilent(own, end),
    ],
  ];
  return troubles.flatMap(([text, isSo]) => {
    const names = others.filter((peer) => isSo(peer, rows.get("ends", peer.nodeId))).map(({ hostname }) => hostname);
    return names.length === 0 ? [] : [`${text}: ${names.join(", ")}`];
  });
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
  const rows = store.snapshot();
  if (rows.list("networks").every(({ tunnel }) => tunnel?.encryption === undefined)) return [];
  const links = rows.list("ownEnds").flatMap(({ keys }) => keys.map(({ link }) => link));
  const error = dataplane.errorOf(encryptedUnderlay);
  return [
    ...(error === undefined ? [] : [`WARNING: encrypted networks end with this host: ${error.message}`]),
    ...(links.some((link) => host.encryptedBy(link) === "wireguard-go") ? [slow] : []),
  ];
}
