import { encryptedUnderlay, keyOf, type WireguardPeerObject } from "../../model/plan.ts";
import { type Found, KernelError } from "../kernel.ts";
import type { Realms } from "../realms.ts";
import { deviceOf, isWireguard } from "../wireguard/find-device.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";
import { holders, removeFrom } from "./of-link.ts";

/**
 * Other hosts on WireGuard links of ours, in the one namespace that has any. They carry no mark: all that such a link has is ours. One that has moved is as it
 * was wished, for WireGuard follows it by itself.
 */
export function wireguardPeerHandler(realms: Realms, engine: string): Handler<WireguardPeerObject> {
  const wishes = createWishes<WireguardPeerObject>();
  return {
    put(object, owner) {
      const realm = realms.get(object.namespace);
      deviceOf(realm, realm.need(object.link)).putPeer(object);
      wishes.remember(object, owner);
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
