/** The words that messages about neighbours, forwarding entries and those of tunnels share; family and flags tell them apart. */

export const neighbourTypes = { new: 28, del: 29, get: 30 } as const;
/** NDA_* (include/uapi/linux/neighbour.h). A tunnel's entry has its destination for an address. */
export const attribute = { address: 1, mac: 2, vlan: 5, port: 6, vni: 7, index: 8, master: 9, protocol: 12 } as const;
export const bridgeFamily = 7; // AF_BRIDGE
export const state = { reachable: 0x02, noArp: 0x40, permanent: 0x80 } as const; // NUD_*
/** NTF_*: the entry is the device's own list, or the bridge's. */
export const of = { self: 0x02, master: 0x04 } as const;
export const bodyLength = 12; // struct ndmsg

export function neighbourBody(family: number, index = 0, nud = 0, flag = 0): Buffer {
  const bytes = Buffer.from([family, 0, 0, 0, 0, 0, 0, 0, 0, 0, flag, 0]);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt16LE(nud, 8);
  return bytes;
}
