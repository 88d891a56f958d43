import type { WireguardLink, WireguardPeerObject } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import type { LinkInfo } from "../netlink/links.ts";
import type { Realm } from "../realms.ts";
import { kernelDevice } from "./kernel-device.ts";
import { publicKeyOf } from "./keys.ts";
import { programDevice } from "./program-device.ts";

/** What a WireGuard device is told of another host. */
export type WireguardPeer = Pick<WireguardPeerObject, "publicKey" | "endpoint" | "address">;

/** As found: anybody may have changed it. */
export interface WireguardState {
  /** 32 bytes; absent: it has none yet. */
  readonly privateKey?: Buffer;
  readonly udpPort: number;
  /** Without their place or address where those are not as a plan has them. */
  readonly peers: readonly WireguardPeer[];
  /** Public keys of those with whom it has agreed on keys of a session. */
  readonly answered: readonly string[];
}

/**
 * Seconds between words to a peer that nothing else is said to. So a host that has begun anew is known to the others at once,
 * who would go on for 15 s with what it has forgotten; and a NAT between them keeps the way open (wg(8)).
 */
export const keepalive = 25;

/** The place of a peer that has none. */
export const nowhere: WireguardPeer["endpoint"] = { address: "", udpPort: 0 };

/** A WireGuard device, whoever runs it. All of it throws {KernelError}. */
export interface WireguardDevice {
  read(): WireguardState;
  /** Sets the key and the UDP port. @throws {KernelError} EADDRINUSE */
  setUp(privateKey: Buffer, udpPort: number): void;
  putPeer(peer: WireguardPeer): void;
  /** Succeeds when it is gone already. */
  removePeer(publicKey: string): void;
}

/** wireguard-go's devices are TUN devices, settings at a socket of that name. */
export const isWireguard = ({ type }: LinkInfo): boolean => type === "wireguard" || type === "tun";

/** @throws {KernelError} EOPNOTSUPP for another type of link */
export function deviceOf(realm: Realm, link: LinkInfo): WireguardDevice {
  if (link.type === "wireguard") return kernelDevice(realm, link.index);
  if (link.type === "tun") return programDevice(link.name);
  throw new KernelError("EOPNOTSUPP", `link ${link.name} is a ${link.type || "device"}, not a WireGuard one`);
}

/** In the words of a plan; a device that does not answer differs from every plan. */
export function wireguardWords(realm: Realm, link: LinkInfo): Pick<WireguardLink, "publicKey" | "udpPort"> {
  try {
    const { privateKey, udpPort } = deviceOf(realm, link).read();
    return { publicKey: privateKey === undefined ? "" : publicKeyOf(privateKey), udpPort };
  } catch (error) {
    if (error instanceof KernelError) return { publicKey: "", udpPort: 0 };
    throw error;
  }
}
