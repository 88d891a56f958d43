import { encryptedUnderlay, keyOf, type WireguardPeerObject } from "../../model/plan.ts";
import { type Found, KernelError } from "../kernel.ts";
import type { LinkInfo } from "../netlink/links.ts";
import { ourProtocol } from "../netlink/protocol.ts";
import type { Realm, Realms } from "../realms.ts";
import { deviceOf, isWireguard } from "../wireguard/find-device.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";
import { holders, removeFrom } from "./of-link.ts";

/**
 * Milliseconds by which the second of two hosts greets the other later. Two handshakes that meet can leave wireguard-go with a session of
 * which it has forgotten the number: what comes in it is dropped, until the next one.
 */
const politeness = 150;

/** True for the first of two hosts: both tell by their addresses in there. */
function isFirst(realm: Realm, link: LinkInfo, other: WireguardPeerObject): boolean {
  const own = realm.addresses().find(({ index, protocol }) => index === link.index && protocol === ourProtocol);
  return own === undefined || own.address.replace(/\/.*/, "") < other.address;
}

/**
 * Other hosts on WireGuard links of ours, in the one namespace that has any. They carry no mark: all that such a link has is ours. One that has moved is as it
 * was wished, for WireGuard follows it by itself.
 */
export function wireguardPeerHandler(realms: Realms, engine: string): Handler<WireguardPeerObject> {
  const wishes = createWishes<WireguardPeerObject>();
  /** Unless it was put again since, or is gone. */
  function greet(object: WireguardPeerObject): void {
    if (wishes.get(keyOf(object))?.object !== object) return;
    try {
      const realm = realms.find(object.namespace);
      const link = realm?.link({ name: object.link });
      if (realm !== undefined && link !== undefined) deviceOf(realm, link).putPeer(object);
    } catch (error) {
      // One that does not answer is begun anew by whoever looks after it, and all peers are put again.
      if (!(error instanceof KernelError)) throw error;
    }
  }
  return {
    put(object, owner) {
      const realm = realms.get(object.namespace);
      const link = realm.need(object.link);
      const greets = isFirst(realm, link, object);
      deviceOf(realm, link).putPeer(object, greets);
      wishes.remember(object, owner);
      if (!greets) setTimeout(() => greet(object), politeness).unref();
    },
    remove(object) {
      wishes.forget(object);
      removeFrom(realms, object, ["ENOENT"], (realm, link) => deviceOf(realm, link).removePeer(object.publicKey));
    },
    list(namespace, picture) {
      if (namespace !== encryptedUnderlay) return [];
      const { realm } = picture;
      const links = picture.links.filter(isWireguard);
      const owners = holders(links, engine);
      return links.flatMap((link): Found[] => {
        const owner = owners.get(link.index)?.owner;
        if (owner === undefined) return [];
        return read(() => deviceOf(realm, link).read().peers).map((peer) => {
          const object: WireguardPeerObject = { kind: "wireguard", namespace, link: link.name, ...peer };
          const wish = wishes.get(keyOf(object));
          if (wish === undefined) return { object, owner };
          return { object: { ...object, endpoint: wish.object.endpoint }, owner: wish.owner };
        });
      });
    },
  };
}

/** A device that does not answer has none. */
function read<R>(body: () => readonly R[]): readonly R[] {
  try {
    return body();
  } catch (error) {
    if (error instanceof KernelError) return [];
    throw error;
  }
}
