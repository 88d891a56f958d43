import type { ClusterId, NodeId } from "./cluster.ts";
import type { IpAddress } from "./ids.ts";

/** One pair of keys of a host. The hosts of a cluster go from one generation to the next together. */
export interface WireguardKey {
  readonly generation: number;
  /** Base64 of 32 bytes. */
  readonly publicKey: string;
}

/** What a host tells the others of its end of WireGuard. */
export interface WireguardKeys {
  /** The older first; two while keys are being rotated. */
  readonly keys: readonly WireguardKey[];
  /** The generation by which it sends to every host that has a key of it; 0 without keys. */
  readonly sends: number;
}

/** Another host's end of WireGuard. */
export interface WireguardEnd extends WireguardKeys {
  /** The node's. */
  readonly id: NodeId;
  /** Its address in there. */
  readonly address: IpAddress;
}

/** A pair of this host's. Each generation has a link and a UDP port of its own, and the one after the next the same again. */
export interface OwnKey extends WireguardKey {
  readonly link: string;
  readonly udpPort: number;
}

/** This host's end of WireGuard. The private keys are in the kernel layer's memory, and in the devices. */
export interface OwnEnd extends WireguardKeys {
  /** The cluster's. */
  readonly id: ClusterId;
  readonly keys: readonly OwnKey[];
  /** Hosts that have answered to a key, and its generation: an older one is not needed any more to reach them. */
  readonly answered: Readonly<Record<NodeId, number>>;
}

/**
 * Milliseconds for which nobody must have needed a key before it goes: a host that is back is heard of in them by all others,
 * who look whether it answers, and say so.
 */
export const settling = 2000;

/** What encrypts on a host. */
export type Encryptor = "kernel" | "wireguard-go" | "none";

/** Generations of which both hosts have keys, the older first. */
const commonGenerations = (own: WireguardKeys, end: WireguardKeys): number[] =>
  own.keys.map(({ generation }) => generation).filter((one) => end.keys.some(({ generation }) => generation === one));

/** True for a host that has keys of two generations in common with this one, and has not answered to the newer. */
export function isSilent(own: OwnEnd, end: WireguardEnd): boolean {
  const [, newer] = commonGenerations(own, end);
  return newer !== undefined && (own.answered[end.id] ?? 0) < newer;
}

/**
 * The generation by which this host sends to another: the older one, which works, until the other has answered to the newer.
 * @returns undefined while they have none in common
 */
export function generationTo(own: OwnEnd, end: WireguardEnd): number | undefined {
  const [older, newer = older] = commonGenerations(own, end);
  return isSilent(own, end) ? older : newer;
}
