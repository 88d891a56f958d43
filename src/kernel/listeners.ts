import { isWatched, type NamespaceName } from "../model/plan.ts";
import type { KernelEvent } from "./kernel.ts";
import { nftGroups, readNftEvents, readRouteEvents, routeGroups } from "./netlink/events.ts";
import { watch } from "./netlink/watch.ts";
import type { Realms } from "./realms.ts";

type OnEvent = (event: KernelEvent) => void;
interface Watch {
  /** Of the namespace when the watch began. */
  readonly identity: number | undefined;
  readonly end: () => void;
}

/** Those who are told what changes in namespaces that are watched. */
export interface Listeners {
  /** @returns a function that ends it */
  add(onEvent: OnEvent): () => void;
  /** A namespace is there: from now on what changes in it is told, if it is one of those. */
  follow(namespace: NamespaceName): void;
  /** Before a namespace goes: an open socket would keep it. */
  forget(namespace: NamespaceName): void;
  close(): void;
}

export function createListeners(realms: Realms): Listeners {
  const all = new Map<OnEvent, Map<NamespaceName, Watch>>();
  function begin(onEvent: OnEvent, watches: Map<NamespaceName, Watch>, namespace: NamespaceName): void {
    if (!isWatched(namespace)) return;
    const identity = realms.namespaces.identity(namespace);
    const before = watches.get(namespace);
    if (before !== undefined && before.identity === identity) return;
    before?.end();
    watches.set(namespace, { identity, end: watchOne(realms, namespace, onEvent) });
  }
  function end(onEvent: OnEvent): void {
    for (const watch of all.get(onEvent)?.values() ?? []) watch.end();
    all.delete(onEvent);
  }
  return {
    add(listener) {
      const onEvent: OnEvent = (event) => listener(event);
      const watches = new Map<NamespaceName, Watch>();
      all.set(onEvent, watches);
      for (const namespace of ["host" as const, ...realms.namespaces.names()]) begin(onEvent, watches, namespace);
      return () => end(onEvent);
    },
    follow(namespace) {
      for (const [onEvent, watches] of all) begin(onEvent, watches, namespace);
    },
    forget(namespace) {
      for (const watches of all.values()) {
        watches.get(namespace)?.end();
        watches.delete(namespace);
      }
    },
    close() {
      for (const onEvent of all.keys()) end(onEvent);
    },
  };
}

function watchOne(realms: Realms, namespace: NamespaceName, onEvent: OnEvent): () => void {
  const names = new Map<number, string>();
  const readNames = () =>
    realms
      .find(namespace)
      ?.links()
      .forEach((link) => names.set(link.index, link.name));
  const lost = () => {
    readNames();
    onEvent({ kind: "lost" });
  };
  const inside = <R>(body: () => R) => realms.namespaces.inside(namespace, body);
  const onRoutes = (bytes: Buffer) => readRouteEvents(bytes, names, namespace).forEach(onEvent);
  const onRules = (bytes: Buffer) => readNftEvents(bytes, namespace).forEach(onEvent);
  const ends = [
    watch(0, routeGroups, { inside, onBytes: onRoutes, onLost: lost }),
    watch(12, nftGroups, { inside, onBytes: onRules, onLost: lost }),
  ];
  readNames();
  return () => ends.forEach((end) => end());
}
