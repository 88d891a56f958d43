import { type Attribute, text } from "./attributes.ts";
import { linkBody } from "./link-words.ts";
import { flags, type Message } from "./message.ts";

/** RTM_NEWLINKPROP and RTM_DELLINKPROP (include/uapi/linux/rtnetlink.h). */
const types = { add: 108, remove: 109 } as const;
const propertyList = 52; // IFLA_PROP_LIST
const alternativeName = 53; // IFLA_ALT_IFNAME

const named = (name: string): Attribute => [propertyList, [[alternativeName, text(name)]]];

/** Gives a link one more name (ip-link(8), `property add altname`), of up to 127 bytes, the only one in its namespace. */
export const addName = (index: number, name: string): Message => ({
  type: types.add,
  flags: flags.create | flags.exclusive | flags.append,
  body: linkBody(index, 0, 0),
  attributes: [named(name)],
});

export const removeName = (index: number, name: string): Message => ({
  type: types.remove,
  flags: 0,
  body: linkBody(index, 0, 0),
  attributes: [named(name)],
});

/** Reads IFLA_PROP_LIST. */
export function readNames(list: Buffer | undefined): string[] {
  const found: string[] = [];
  for (let at = 0; list !== undefined && at + 4 <= list.length; ) {
    const length = list.readUInt16LE(at);
    if (length < 4 || at + length > list.length) break;
    if ((list.readUInt16LE(at + 2) & 0x3fff) === alternativeName)
      found.push(list.toString("utf8", at + 4, at + length).replace(/\0.*$/s, ""));
    at += (length + 3) & ~3;
  }
  return found;
}
