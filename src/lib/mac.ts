import { createHash } from "node:crypto";

/**
 * What MACs of ingress sandboxes begin with, and no others: by it a task knows packets that came in by a published port, and
 * by the four bytes that follow the node where its answers go out.
 */
export const ingressMacPrefix = "02:54:";

const hashOf = (identity: string) => createHash("sha256").update(identity).digest();
const text = (bytes: Iterable<number>) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");

/**
 * A locally administered unicast address from what is its holder's alone: never from an IP address, which is used again while
 * neighbours still remember the old owner.
 * @returns `02:42:ac:11:00:02`, lower case
 */
export function localMac(identity: string): string {
  const bytes = hashOf(identity).subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  const mac = text(bytes);
  return mac.startsWith(ingressMacPrefix) ? localMac(`${identity} again`) : mac;
}

/** The same for an ingress sandbox. @returns `ingressMacPrefix` and four bytes that are not all 0 */
export function ingressMac(identity: string): string {
  const bytes = hashOf(identity).subarray(0, 4);
  return bytes.every((byte) => byte === 0) ? ingressMac(`${identity} again`) : ingressMacPrefix + text(bytes);
}
