import { createHash } from "node:crypto";

// All of them are locally administered, unicast, and lower case: `02:42:ac:11:00:02`. None comes from an IP address, which is
// used again while neighbours still remember the old owner; each comes from what is its holder's alone, so that it is the
// same after every restart.

/**
 * What MACs of ingress sandboxes begin with, and no others: by it a task knows packets that came in by a published port, and
 * by the three bytes that follow the node where its answers go out. The third byte is in the marks that are made of them, where it
 * tells them from others' marks.
 */
export const ingressMacPrefix = "02:54:54:";

const digest = (text: string) => createHash("sha256").update(text).digest();
const written = (bytes: Iterable<number>) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");

/** Of a container's interface. @param identity what nobody else has */
export function localMac(identity: string): string {
  const bytes = digest(identity).subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  const mac = written(bytes);
  return mac.startsWith(ingressMacPrefix) ? localMac(`${identity} again`) : mac;
}

/** The same for an ingress sandbox. @returns `ingressMacPrefix` and three bytes that are not all 0 */
export function ingressMac(identity: string): string {
  const bytes = digest(identity).subarray(0, 3);
  return bytes.every((byte) => byte === 0) ? ingressMac(`${identity} again`) : ingressMacPrefix + written(bytes);
}

/** Of one of several links that a network has for some use. @param id hexadecimal or not */
export const macFrom = (id: string, use: string): string => written([0x5a, ...digest(`${use} ${id}`).subarray(0, 5)]);

/** Of the one link that is named after an id: its first ten digits. @param first two digits, the second 2, 6, a or e @param id hexadecimal */
export const derivedMac = (first: string, id: string): string =>
  [first, ...(id.slice(0, 10).padEnd(10, "0").match(/../g) ?? [])].join(":");
