import type { WireguardPeerObject } from "../../model/plan.ts";

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
  /** @param greets false: nothing is said to it before it says something, or is put again */
  putPeer(peer: WireguardPeer, greets?: boolean): void;
  /** Succeeds when it is gone already. */
  removePeer(publicKey: string): void;
}
