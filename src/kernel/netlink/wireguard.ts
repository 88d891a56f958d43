import { text } from "./attributes.ts";
import { attribute, info, linkBody, linkTypes } from "./link-words.ts";
import { flags, type Message } from "./message.ts";

/** The link is down, without a key, and its socket comes to be in the namespace of the netlink socket. */
export const createWireguard = (name: string): Message => ({
  type: linkTypes.new,
  flags: flags.create | flags.exclusive,
  body: linkBody(0, 0, 0),
  attributes: [
    [attribute.name, text(name)],
    [attribute.info, [[info.kind, text("wireguard")]]],
  ],
});
