import type { ParentObject } from "../../model/plan.ts";
import { addName, removeName } from "../netlink/link-names.ts";
import { type LinkInfo, setLink, setPromiscuous } from "../netlink/links.ts";
import type { Realms } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";

/**
 * A link of somebody else's keeps its alias; our mark on it is one more name, which says too what has to be given back:
 * `tombolo-<engine>`, or `tombolo-<engine>-promisc` when it was us who made it promiscuous.
 */
export function parentHandler(realms: Realms, engine: string): Handler<ParentObject> {
  const wishes = createWishes<ParentObject>();
  const plain = `tombolo-${engine}`;
  const switched = `${plain}-promisc`;
  const markOf = ({ names }: LinkInfo) => [plain, switched].find((name) => names.includes(name));

  return {
    put(object) {
      const { route, indexOf } = realms.get("host");
      const index = indexOf(object.link);
      const link = realms.get("host").link({ index });
      if (link === undefined) return;
      const before = markOf(link);
      const after = object.promiscuous && (!link.promiscuous || before === switched) ? switched : plain;
      // The mark comes first: what is switched without one would never be given back.
      if (before !== after) {
        if (before !== undefined) route.exchange(removeName(index, before));
        route.exchange(addName(index, after));
      }
      if (after === switched) route.exchange(setPromiscuous(index, true));
      else if (before === switched) route.exchange(setPromiscuous(index, false));
      else if (!link.up) route.exchange(setLink({ index }, {}));
      wishes.remember(object, `parent:${object.link}`);
    },
    remove(object) {
      wishes.forget(object);
      const realm = realms.get("host");
      const link = realm.link({ name: object.link });
      const mark = link && markOf(link);
      if (link === undefined || mark === undefined) return;
      if (mark === switched) realm.route.exchange(setPromiscuous(link.index, false));
      realm.route.exchange(removeName(link.index, mark));
    },
    list(namespace) {
      if (namespace !== "host") return [];
      return realms
        .get("host")
        .links()
        .flatMap((link) => {
          const mark = markOf(link);
          if (mark === undefined) return [];
          const owner = `parent:${link.name}`;
          const object: ParentObject = { kind: "parent", namespace: "host", link: link.name, promiscuous: false };
          const wish = wishes.get(`parent|host|${link.name}`)?.object;
          // Without our switch it is as its administrator wants it: as good as wished.
          const left = mark === plain && wish !== undefined && (!wish.promiscuous || link.promiscuous);
          return [{ owner, object: left ? wish : { ...object, promiscuous: link.promiscuous } }];
        });
    },
  };
}
