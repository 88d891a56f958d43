import { existsSync } from "node:fs";
import type { IpAddress } from "../../model/ids.ts";
import {
  type DestinationObject,
  type IpvsObject,
  type IpvsScheduler,
  keyOf,
  type NamespaceName,
} from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { familyId } from "../netlink/generic.ts";
import { ipvsFamily, ipvsMessages, readDestination, readService } from "../netlink/ipvs.ts";
import type { Message } from "../netlink/message.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";

/**
 * As connection tracking has them (net/netfilter/nf_conntrack_proto_tcp.c, _udp.c): idle connections live for five days. IPVS
 * would forget them after a quarter of an hour.
 */
const timeouts = { tcp: 432_000, tcpEnd: 120, udp: 120 } as const; // seconds
const gone = ["ENOENT", "ESRCH"];

/** There once the module is: who only looks does not have it loaded. */
const isLoaded = () => existsSync("/proc/net/ip_vs");

/** IPVS in namespaces. What it has carries no mark: its owner is who asked for it in this process, else the namespace's. */
export interface Ipvs {
  readonly services: Handler<IpvsObject>;
  readonly destinations: Handler<DestinationObject>;
  /** Destinations that were removed and still have the connections that they had. */
  leaving(realm: Realm): IpAddress[];
  /** Those of `from` that were removed are gone, and with them their connections. */
  forget(realm: Realm, from: readonly IpAddress[]): void;
}

export function createIpvs(realms: Realms): Ipvs {
  const leaving = new WeakMap<Realm, Map<string, DestinationObject>>();
  const of = (realm: Realm) => leaving.getOrInsertComputed(realm, () => new Map());
  return {
    services: serviceHandler(realms, ({ family, mark }, realm) => {
      for (const [key, one] of of(realm)) if (one.family === family && one.mark === mark) of(realm).delete(key);
    }),
    destinations: destinationHandler(realms, of),
    leaving: (realm) => [...new Set([...of(realm).values()].map(({ address }) => address))],
    forget(realm, from) {
      const left = of(realm);
      for (const [key, one] of left) {
        if (!from.includes(one.address)) continue;
        tolerate(gone, () => ask(realm, (messages) => messages.deleteDestination(one, one.address)));
        left.delete(key);
      }
    },
  };
}

/** Where a service that is there is changed. */
function put(realm: Realm, message: (messages: ReturnType<typeof ipvsMessages>, verb: "new" | "set") => Message): void {
  try {
    ask(realm, (messages) => message(messages, "new"));
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== "EEXIST") throw error;
    ask(realm, (messages) => message(messages, "set"));
  }
}

function ask(realm: Realm, message: (messages: ReturnType<typeof ipvsMessages>) => Message): void {
  realm.generic().exchange(message(ipvsMessages(familyId(realm, ipvsFamily))));
}

function serviceHandler(realms: Realms, forget: (object: IpvsObject, realm: Realm) => void): Handler<IpvsObject> {
  const wishes = createWishes<IpvsObject>();
  const prepared = new WeakSet<Realm>();
  return {
    put(object, owner) {
      const realm = realms.get(object.namespace);
      if (!prepared.has(realm)) ask(realm, ({ setTimeouts }) => setTimeouts(timeouts));
      prepared.add(realm);
      put(realm, ({ putService }, verb) => putService(verb, object));
      wishes.remember(object, owner);
    },
    remove(object) {
      wishes.forget(object);
      const realm = realms.find(object.namespace);
      if (realm === undefined || !isLoaded()) return;
      tolerate(gone, () => ask(realm, ({ deleteService }) => deleteService(object)));
      forget(object, realm);
    },
    list: (namespace, { realm }) =>
      servicesIn(realm, namespace).map((object) => ({
        object,
        owner: wishes.get(keyOf(object))?.owner ?? namespace,
      })),
  };
}

function destinationHandler(
  realms: Realms,
  leaving: (realm: Realm) => Map<string, DestinationObject>,
): Handler<DestinationObject> {
  const wishes = createWishes<DestinationObject>();
  return {
    put(object, owner) {
      const realm = realms.get(object.namespace);
      put(realm, ({ putDestination }, verb) => putDestination(verb, object, object.address, 1));
      leaving(realm).delete(keyOf(object));
      wishes.remember(object, owner);
    },
    remove(object) {
      wishes.forget(object);
      const realm = realms.find(object.namespace);
      if (realm === undefined || !isLoaded()) return;
      tolerate(gone, () => {
        ask(realm, ({ putDestination }) => putDestination("set", object, object.address, 0));
        leaving(realm).set(keyOf(object), object);
      });
    },
    list(namespace, { realm }) {
      const found = servicesIn(realm, namespace).flatMap((service) => destinationsOf(realm, service));
      for (const { object, weight } of found) if (weight === 0) leaving(realm).set(keyOf(object), object);
      return found.flatMap(({ object, weight }) =>
        weight === 0 ? [] : { object, owner: wishes.get(keyOf(object))?.owner ?? namespace },
      );
    },
  };
}

function servicesIn(realm: Realm, namespace: NamespaceName): IpvsObject[] {
  if (!isLoaded()) return [];
  const { dumpServices } = ipvsMessages(familyId(realm, ipvsFamily));
  return realm
    .generic()
    .dump(dumpServices)
    .flatMap(({ body }): IpvsObject[] => {
      const words = readService(body);
      // Another scheduler than ours was made by somebody else: it differs from every plan.
      return words === undefined
        ? []
        : [{ kind: "ipvs", namespace, ...words, scheduler: words.scheduler as IpvsScheduler }];
    });
}

function destinationsOf(
  realm: Realm,
  { namespace, family, mark }: IpvsObject,
): { readonly object: DestinationObject; readonly weight: number }[] {
  const { dumpDestinations } = ipvsMessages(familyId(realm, ipvsFamily));
  return realm
    .generic()
    .dump(dumpDestinations({ family, mark }))
    .map(({ body }) => {
      const { address, weight } = readDestination(body, family);
      return { object: { kind: "destination", namespace, family, mark, address }, weight };
    });
}
