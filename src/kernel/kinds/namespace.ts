import type { NamespaceObject } from "../../model/plan.ts";
import type { Listeners } from "../listeners.ts";
import { setLink } from "../netlink/links.ts";
import type { Realms } from "../realms.ts";
import type { Handler } from "./handler.ts";

/** The name says the owner: `sandbox:<id>` is the sandbox's own, `network:<id>` the network's. */
export function namespaceHandler(realms: Realms, listeners: Listeners): Handler<NamespaceObject> {
  return {
    put({ namespace }) {
      realms.namespaces.pin(namespace);
      realms.get(namespace).route.exchange(setLink({ name: "lo" }, {}));
      listeners.follow(namespace);
    },
    remove({ namespace }) {
      if (namespace === "host") return;
      listeners.forget(namespace);
      realms.forget(namespace);
      realms.namespaces.unpin(namespace);
    },
    list: (namespace) =>
      namespace === "host" || realms.namespaces.identity(namespace) === undefined
        ? []
        : [{ object: { kind: "namespace", namespace }, owner: namespace }],
  };
}
