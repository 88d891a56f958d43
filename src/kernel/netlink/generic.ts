import { KernelError } from "../kernel.ts";
import type { Realm } from "../realms.ts";
import { type Attribute, decodeAttributes, text } from "./attributes.ts";
import type { Message } from "./message.ts";

/** include/uapi/linux/genetlink.h: the family that knows the numbers of the others. */
const control = { family: 16, getFamily: 3, id: 1, name: 2 } as const;
const headLength = 4; // struct genlmsghdr

/** Generic netlink: number of the command, and version of its family, which is 1 for all of ours. */
export const genericMessage = (family: number, command: number, attributes: readonly Attribute[]): Message => ({
  type: family,
  flags: 0,
  body: Buffer.from([command, 1, 0, 0]),
  attributes,
});

/** Attributes of an answer. */
export const genericAttributes = (body: Buffer): Map<number, Buffer> => decodeAttributes(body.subarray(headLength));

/**
 * The number of a family. Linux looks for the module when it has none of that name.
 * @throws {KernelError} ENOENT when there is none
 */
export function familyId(realm: Realm, name: string): number {
  const ask = genericMessage(control.family, control.getFamily, [[control.name, text(name)]]);
  const [reply] = realm.generic().exchange(ask);
  const id = reply && genericAttributes(reply.body).get(control.id);
  if (id === undefined) throw new KernelError("ENOENT", `the kernel does not say how to speak of ${name}`);
  return id.readUInt16LE(0);
}

/** True when there is a family of that name, its module loaded where that can be done. */
export function hasFamily(realm: Realm, name: string): boolean {
  try {
    return familyId(realm, name) > 0;
  } catch (error) {
    if (error instanceof KernelError && error.code === "ENOENT") return false;
    throw error;
  }
}
