import { createHash } from "node:crypto";

/**
 * A locally administered unicast address from what is its holder's alone: never from an IP address, which is used again while
 * neighbours still remember the old owner.
 * @returns `02:42:ac:11:00:02`, lower case
 */
export function localMac(identity: string): string {
  const bytes = createHash("sha256").update(identity).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
