import { randomBytes } from "node:crypto";
import type { MemberCredentials } from "./etcd-process.ts";

/** What a manager needs for the cluster's store: its etcd's credentials, and the key under which rows are sealed. */
export interface StoreKeys extends MemberCredentials {
  /** 32 bytes, the same on every manager. */
  readonly dataKey: Buffer;
}

export const newDataKey = () => randomBytes(32);
const label = "TOMBOLO DATA KEY";

/** All of it as one text of PEM blocks. */
export const storeKeysText = ({ certificate, key, root, dataKey }: StoreKeys) =>
  [certificate, key, root, `-----BEGIN ${label}-----\n${dataKey.toString("base64")}\n-----END ${label}-----`]
    .map((pem) => `${pem.trim()}\n`)
    .join("");

/** @throws {Error} when the text is none of ours; it is not in the message */
export function readStoreKeys(text: string): StoreKeys {
  const [certificate, key, root, last = "", ...more] =
    text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n/g) ?? [];
  const dataKey = Buffer.from(last.split("\n")[1] ?? "", "base64");
  if (certificate === undefined || key === undefined || root === undefined || dataKey.length !== 32 || more.length > 0)
    throw new Error("the file with the keys of the cluster's store is damaged");
  return { certificate, key, root, dataKey };
}
