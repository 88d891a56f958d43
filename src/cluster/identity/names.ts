import { randomBytes } from "node:crypto";
import type { NodeRole } from "../../model/cluster.ts";

/** A node's or a swarm's id: 25 base-36 digits. */
export type SwarmId = string;

/** Who a certificate speaks for: subject CN, OU and O. */
export interface Identity {
  readonly nodeId: SwarmId;
  readonly role: NodeRole;
  readonly clusterId: SwarmId;
}

/** A certificate's OU for each role (moby/swarmkit ca/config.go). */
export const unitOf: Readonly<Record<NodeRole, string>> = { manager: "swarm-manager", worker: "swarm-worker" };
/** The TLS server name that only managers' certificates carry: who asks for it cannot be answered by a worker. */
export const managerName = "tombolo-manager";

/** @returns a new id: 128 random bits, the highest set so that there are always 25 digits (moby/swarmkit identity/randomid.go) */
export function newSwarmId(): SwarmId {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0] ?? 0) | 0x80;
  return base36(bytes, 25);
}

export const isSwarmId = (text: string) => /^[0-9a-z]{25}$/.test(text);

/** @returns the bytes as one number in lower-case base 36, zeros in front up to `width` digits */
export const base36 = (bytes: Uint8Array, width: number) =>
  BigInt(`0x0${Buffer.from(bytes).toString("hex")}`)
    .toString(36)
    .padStart(width, "0");

/** @returns the number in `size` bytes; undefined when it is none in base 36 or does not fit */
export function fromBase36(text: string, size: number): Buffer | undefined {
  if (!/^[0-9a-z]+$/.test(text)) return undefined;
  let number = 0n;
  for (const digit of text) number = number * 36n + BigInt(Number.parseInt(digit, 36));
  const hex = number.toString(16).padStart(size * 2, "0");
  return hex.length > size * 2 ? undefined : Buffer.from(hex, "hex");
}
