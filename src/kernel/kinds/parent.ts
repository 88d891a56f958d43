import type { ParentObject } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { addName, removeName } from "../netlink/link-names.ts";
import { type LinkInfo, setPromiscuous } from "../netlink/links.ts";
import type { Realms } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import { bringUp } from "./child-link.ts";
import type { Handler } from "./handler.ts";

const suffix = "-promisc";

/**
 * A link of somebody else's keeps its alias; our mark on it is one more name, which says too what has to be given back:
 * `tombolo-<engine>-<index>`, with `-promisc` behind it when it was us who made the link promiscuous.
 */
export function parentHandler(realms: Realms, engine: string): Handler<ParentObject> {
  const wishes = createWishes<ParentObject>();
  const prefix = `tombolo-${engine}-`;
  const markOf = ({ names }: LinkInfo) => names.find((name) => name.startsWith(prefix));

  return {
    put(object) {
      const realm = realms.get("host");
      const { route } = realm;
      const link = realm.link({ name: object.link });
      if (link === undefined) throw new KernelError("ENODEV", `there is no interface ${object.link} on this host`);
      const { index } = link;
      const before = markOf(link);
      const switched = object.promiscuous && (!link.promiscuous || before?.endsWith(suffix) === true);
      const after = `${prefix}${index}${switched ? suffix : ""}`;
      // The mark comes first: what is switched without one would never be given back.
      if (before !== after) {
        if (before !== undefined) route.exchange(removeName(index, before));
        route.exchange(addName(index, after));
      }
      bringUp(realm, link);
      if (switched || before?.endsWith(suffix) === true) route.exchange(setPromiscuous(index, switched));
      wishes.remember(object, `parent:${object.link}`);
    },
    remove(object) {
      wishes.forget(object);
      const realm = realms.get("host");
      const link = realm.link({ name: object.link });
      const mark = link && markOf(link);
      if (link === undefined || mark === undefined) return;
      if (mark.endsWith(suffix)) realm.route.exchange(setPromiscuous(link.index, false));
      realm.route.exchange(removeName(link.index, mark));
    },
    list(namespace, picture) {
      if (namespace !== "host") return [];
      return picture.links.flatMap((link) => {
        const mark = markOf(link);
        if (mark === undefined) return [];
        const owner = `parent:${link.name}`;
        const object: ParentObject = { kind: "parent", namespace: "host", link: link.name, promiscuous: false };
        const wish = wishes.get(`parent|host|${link.name}`)?.object;
        // Without our switch it is as its administrator wants it: as good as wished.
        const left = !mark.endsWith(suffix) && wish !== undefined && (!wish.promiscuous || link.promiscuous);
        return [{ owner, object: left ? wish : { ...object, promiscuous: link.promiscuous } }];
      });
    },
  };
}
