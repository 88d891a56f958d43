import type { NamespaceObject } from "../../model/plan.ts";
import { setLink } from "../netlink/links.ts";
import type { Realms } from "../realms.ts";
import type { Handler } from "./handler.ts";

/** The name says the owner: `sandbox:<id>` is the sandbox's own. */
export function namespaceHandler(realms: Realms): Handler<NamespaceObject> {
  return {
    put({ namespace }) {
      realms.namespaces.pin(namespace);
      realms.get(namespace).route.exchange(setLink({ name: "lo" }, {}));
    },
    remove({ namespace }) {
      if (namespace === "host") return;
      realms.forget(namespace);
      realms.namespaces.unpin(namespace);
    },
    list: (namespace) =>
      namespace === "host" || realms.namespaces.identity(namespace) === undefined
        ? []
        : [{ object: { kind: "namespace", namespace }, owner: namespace }],
  };
}
