import type { MemberCredentials } from "./etcd-process.ts";

/** A manager's etcd credentials as one text: certificate, key, root. */
export const credentialsText = ({ certificate, key, root }: MemberCredentials) =>
  [certificate, key, root].map((pem) => `${pem.trim()}\n`).join("");

/** @throws {Error} when the text is none of ours; it is not in the message */
export function readCredentials(text: string): MemberCredentials {
  const [certificate, key, root, ...more] = text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n/g) ?? [];
  if (certificate === undefined || key === undefined || root === undefined || more.length > 0)
    throw new Error("the file of etcd's certificate is damaged");
  return { certificate, key, root };
}
