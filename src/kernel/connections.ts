import type { IpAddress } from "../model/ids.ts";
import { type ConnectionInfo, dumpAnsweredFrom, dumpTranslated, readConnection } from "./netlink/connections.ts";
import type { Message } from "./netlink/message.ts";
import { type Realm, tolerate } from "./realms.ts";

const most = 100; // messages at a time: each is answered, and the socket's buffer takes some hundred answers

const connections = (realm: Realm, dump: Message): ConnectionInfo[] =>
  realm
    .netfilter()
    .dump(dump)
    .flatMap(({ body }) => readConnection(body) ?? []);

/** @see Kernel.answering */
export function answering(realm: Realm): IpAddress[] {
  const found = ([2, 10] as const).flatMap((family) => connections(realm, dumpTranslated(family)));
  return [...new Set(found.flatMap(({ isTranslated, answeredFrom }) => (isTranslated ? answeredFrom : [])))];
}

/** @see Kernel.forgetConnections */
export function forgetConnections(realm: Realm, from: readonly IpAddress[]): number {
  const found = from.flatMap((address) =>
    connections(realm, dumpAnsweredFrom(address)).filter(
      ({ isTranslated, answeredFrom }) => isTranslated && answeredFrom === address,
    ),
  );
  for (let at = 0; at < found.length; at += most) {
    const messages = found.slice(at, at + most).map(({ forget }) => forget);
    tolerate(["ENOENT"], () => realm.netfilter().exchange(...messages));
  }
  return found.length;
}
