import { dumpForwarding } from "./netlink/neighbours.ts";
import type { LinkInfo } from "./netlink/links.ts";
import type { Reply } from "./netlink/socket.ts";
import type { Realm } from "./realms.ts";

/** One namespace as it is now: what several kinds of objects are found by is read once for all of them, when it is asked for. */
export class Picture {
  readonly realm: Realm;
  #links: readonly LinkInfo[] | undefined;
  #entries: readonly Reply[] | undefined;

  constructor(realm: Realm) {
    this.realm = realm;
  }

  get links(): readonly LinkInfo[] {
    this.#links ??= this.realm.links();
    return this.#links;
  }
  /** Of bridges and of tunnels: who asks knows which are his. */
  get forwardingEntries(): readonly Reply[] {
    this.#entries ??= this.realm.route.dump(dumpForwarding);
    return this.#entries;
  }
}
