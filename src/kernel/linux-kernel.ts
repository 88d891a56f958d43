import type { NamespaceName, PlanKind, PlanObject } from "../model/plan.ts";
import { hostRoutes } from "./host-routes.ts";
import { type Kernel, KernelError, type KernelEvent, type Step } from "./kernel.ts";
import type { Handler } from "./kinds/handler.ts";
import { linkHandler } from "./kinds/link.ts";
import { namespaceHandler } from "./kinds/namespace.ts";
import { addressHandler, forwardingHandler, neighbourHandler, routeHandler } from "./kinds/on-link.ts";
import { sysctl, sysctlHandler } from "./kinds/sysctl.ts";
import { readMark } from "./mark.ts";
import { createNamespaces } from "./namespaces.ts";
import { nftGroups, readNftEvents, readRouteEvents, routeGroups } from "./netlink/events.ts";
import { watch } from "./netlink/watch.ts";
import { createBase } from "./nft/base.ts";
import { createRules, isRuleStep } from "./nft/rules.ts";
import { createRealms, type Realm, type Realms } from "./realms.ts";

/** Kinds that netlink and /proc/sys take one by one; chains and elements are transactions. */
type SingleKind = Exclude<PlanKind, "chain" | "element">;
type Handlers = { readonly [K in SingleKind]: Handler<Extract<PlanObject, { kind: K }>> };

/**
 * The network of this machine, seen from the namespace in which this thread is now.
 * @param options.netnsDir where sandboxes' namespaces are pinned @param options.engine in every mark: what has another is not ours
 * @throws {KernelError} EPERM without the right to manage the network; an Error when libnftables is missing
 */
export function createKernel(options: { readonly netnsDir: string; readonly engine: string }): Kernel {
  const { netnsDir, engine } = options;
  const namespaces = createNamespaces(netnsDir);
  const realms = createRealms(namespaces);
  const host = () => realms.get("host");
  // libnftables ends the process when it finds no free descriptor: have one from the start.
  host().nft();
  const base = createBase(() => host().nft(), engine);
  const rules = createRules(realms, base);
  const handlers = createHandlers(realms, engine);
  const watches = new Set<() => void>();
  return {
    apply: (steps) => applyAll(steps, handlers, rules),
    list(namespace, kind) {
      if (kind === "chain") return rules.listChains(namespace);
      return kind === "element" ? rules.listElements(namespace) : handlers[kind].list(namespace);
    },
    namespaces: () => namespaces.names(),
    link: (namespace, name) => describeLink(realms.find(namespace), engine, name),
    hostRoutes: () => hostRoutes(host()),
    ensureBase: (text) => base.ensure(text),
    nft: (namespace, text) => void realms.get(namespace).nft().run(text),
    sysctl: (namespace, key, value) => sysctl(namespaces, namespace, key, value),
    inside: (namespace, body) => namespaces.inside(namespace, body),
    namespacePath: (namespace) => namespaces.path(namespace),
    events: (onEvent) => watchHost(realms, watches, onEvent),
    close() {
      for (const end of watches) end();
      realms.close();
      namespaces.close();
    },
  };
}

function createHandlers(realms: Realms, engine: string): Handlers {
  return {
    namespace: namespaceHandler(realms),
    link: linkHandler(realms, engine),
    address: addressHandler(realms, engine),
    route: routeHandler(realms, engine),
    neighbour: neighbourHandler(realms, engine),
    forwarding: forwardingHandler(realms, engine),
    sysctl: sysctlHandler(realms.namespaces),
  };
}

function applyAll(steps: readonly Step[], handlers: Handlers, rules: ReturnType<typeof createRules>): void {
  for (let at = 0; at < steps.length; ) {
    const group = ruleGroup(steps, at);
    try {
      const step = steps[at];
      if (group.length > 0) rules.apply(group[0]?.object.namespace ?? "host", group);
      else if (step !== undefined) applyOne(step, handlers);
    } catch (error) {
      if (error instanceof KernelError) error.step = at + (error.step ?? 0);
      throw error;
    }
    at += Math.max(1, group.length);
  }
}

/** The chain and element steps of one namespace that begin at `at`. */
function ruleGroup(steps: readonly Step[], at: number) {
  const isAlike = (step: Step) => isRuleStep(step) && step.object.namespace === steps[at]?.object.namespace;
  const end = steps.findIndex((step, i) => i >= at && !isAlike(step));
  return steps.slice(at, end < 0 ? steps.length : end).filter(isRuleStep);
}

function applyOne(step: Step, handlers: Handlers): void {
  const { object } = step;
  if (object.kind === "chain" || object.kind === "element") return;
  // TypeScript does not follow that the handler found by an object's kind takes that object.
  const handler = handlers[object.kind] as Handler<PlanObject>;
  if (step.verb === "remove") handler.remove(object);
  else handler.put(object, step.owner);
}

function describeLink(realm: Realm | undefined, engine: string, name: string): ReturnType<Kernel["link"]> {
  const link = realm?.link({ name });
  if (link === undefined) return undefined;
  const mark = readMark(link.alias);
  const { type, up, mtu } = link;
  return { name: link.name, type, up, mtu, ...(mark?.engine === engine && { owner: mark.owner }) };
}

function watchHost(realms: Realms, watches: Set<() => void>, onEvent: (event: KernelEvent) => void): () => void {
  const names = new Map<number, string>();
  const readNames = () =>
    realms
      .get("host")
      .links()
      .forEach((link) => names.set(link.index, link.name));
  const lost = () => {
    readNames();
    onEvent({ kind: "lost" });
  };
  const namespaceOfHost: NamespaceName = "host";
  const ends = realms.namespaces.inside(namespaceOfHost, () => [
    watch(0, routeGroups, (bytes) => readRouteEvents(bytes, names).forEach(onEvent), lost),
    watch(12, nftGroups, (bytes) => readNftEvents(bytes).forEach(onEvent), lost),
  ]);
  readNames();
  const end = () => {
    for (const one of ends) one();
    watches.delete(end);
  };
  watches.add(end);
  return end;
}
