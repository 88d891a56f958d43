/** The words that messages about links share. */

/** Message types of links and of namespaces' numbers (include/uapi/linux/rtnetlink.h). */
export const linkTypes = { new: 16, del: 17, get: 18, getNamespaceId: 90 } as const;

/** IFLA_* (include/uapi/linux/if_link.h). */
export const attribute = {
  mac: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  info: 18,
  alias: 20,
  group: 27,
  namespaceFd: 28,
  filter: 29,
  linkNamespace: 37,
  targetNamespace: 46,
  properties: 52,
} as const;
export const info = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const; // IFLA_INFO_*

export const bodyLength = 16; // struct ifinfomsg

/** @param mask which of the flags are changed */
export function linkBody(index: number, flag: number, mask: number): Buffer {
  const bytes = Buffer.alloc(bodyLength);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(flag, 8);
  bytes.writeUInt32LE(mask, 12);
  return bytes;
}
