import { encryptedUnderlay, type PlanKind, type PlanObject } from "../model/plan.ts";
import { answering, forgetConnections } from "./connections.ts";
import { hostRoutes } from "./host-routes.ts";
import { waitingPorts } from "./waiting-ports.ts";
import { type Kernel, KernelError, type Step } from "./kernel.ts";
import type { Handler } from "./kinds/handler.ts";
import { createIpvs, type Ipvs } from "./kinds/ipvs.ts";
import { LinkHandler } from "./kinds/link.ts";
import { namespaceHandler } from "./kinds/namespace.ts";
import { addressHandler, forwardingHandler, neighbourHandler, routeHandler, tunnelHandler } from "./kinds/on-link.ts";
import { parentHandler } from "./kinds/parent.ts";
import { routingRuleHandler } from "./kinds/routing-rule.ts";
import { sysctl, sysctlHandler } from "./kinds/sysctl.ts";
import { wireguardPeerHandler } from "./kinds/wireguard-peer.ts";
import { hasFamily } from "./netlink/generic.ts";
import { ipvsFamily } from "./netlink/ipvs.ts";
import { createListeners, type Listeners } from "./listeners.ts";
import { readMark } from "./mark.ts";
import { createNamespaces } from "./namespaces.ts";
import { createBase } from "./nft/base.ts";
import { foreignDrops } from "./nft/foreign.ts";
import { createRules, isRuleStep, type Rules } from "./nft/rules.ts";
import { openFrames } from "./packets.ts";
import { Picture } from "./picture.ts";
import { openSocket } from "./sockets.ts";
import type { WireguardState } from "./wireguard/device.ts";
import { deviceOf } from "./wireguard/find-device.ts";
import { wireguardFamily } from "./wireguard/kernel-device.ts";
import { Keyring } from "./wireguard/keys.ts";
import { createRealms, type Realm, type Realms } from "./realms.ts";

/** Kinds that netlink and /proc/sys take one by one; rules are transactions. */
type SingleKind = Exclude<PlanKind, "chain" | "element" | "timeout">;
type Handlers = { readonly [K in SingleKind]: Handler<Extract<PlanObject, { kind: K }>> } & {
  readonly link: LinkHandler;
};

/**
 * The network of this machine, seen from the namespace in which this thread is now.
 * @param options.netnsDir where the namespaces of sandboxes and networks are pinned @param options.engine in every mark: what has another is not ours
 * @throws {KernelError} EPERM without the right to manage the network; an Error when libnftables is missing
 */
export function createKernel(options: { readonly netnsDir: string; readonly engine: string }): Kernel {
  const { netnsDir, engine } = options;
  const namespaces = createNamespaces(netnsDir);
  const realms = createRealms(namespaces);
  const host = () => realms.get("host");
  // A missing libnftables shows at once.
  host().nft();
  const base = createBase(realms, engine);
  const rules = createRules(realms, base);
  const listeners = createListeners(realms);
  const keys = new Keyring();
  const ipvs = createIpvs(realms);
  const handlers = createHandlers(realms, engine, { listeners, keys, ipvs });
  return {
    apply: (steps) => applyAll(steps, handlers, rules),
    list(namespace, ...kinds) {
      const realm = realms.find(namespace);
      const picture = realm && new Picture(realm);
      return kinds.flatMap((kind) => {
        if (kind === "chain") return rules.listChains(namespace);
        if (kind === "timeout") return rules.listTimeouts(namespace);
        if (kind === "element") return rules.listElements(namespace);
        return picture === undefined ? [] : handlers[kind].list(namespace, picture);
      });
    },
    namespaces: () => namespaces.names(),
    link: (namespace, name) => describeLink(realms.find(namespace), engine, name),
    hostRoutes: () => hostRoutes(host(), engine),
    waitingPorts: () => waitingPorts(namespaces),
    hasAddress: (address) =>
      host()
        .addresses()
        .some((one) => one.address.split("/")[0] === address),
    ensureBase: (text, namespace = "host") => base.ensure(text, namespace),
    nft: (namespace, text) => void realms.get(namespace).nft().run(text),
    answering(namespace) {
      const realm = realms.find(namespace);
      return realm === undefined ? [] : [...new Set([...answering(realm), ...ipvs.leaving(realm)])];
    },
    forgetConnections(namespace, from) {
      const realm = realms.find(namespace);
      if (realm === undefined) return 0;
      ipvs.forget(realm, from);
      return forgetConnections(realm, from);
    },
    sysctl: (namespace, key, value) => sysctl(namespaces, namespace, key, value),
    inside: (namespace, body) => namespaces.inside(namespace, body),
    namespacePath: (namespace) => namespaces.path(namespace),
    socket: (namespace, options) => namespaces.inside(namespace, () => openSocket(options)),
    hasIpvs: () => hasFamily(host(), ipvsFamily),
    hasWireguard: () => hasFamily(host(), wireguardFamily),
    wireguardKey(link) {
      const key = readDevice(realms, engine, link)?.privateKey;
      return key && keys.keep(key);
    },
    newWireguardKey: () => keys.make(),
    forgetWireguardKey: (publicKey) => keys.forget(publicKey),
    wireguardAnswers: (link) => new Set(readDevice(realms, engine, link)?.answered),
    frames: (link, filter, onFrame, namespace = "host") =>
      namespaces.inside(namespace, () => openFrames(realms.get(namespace).indexOf(link), filter, onFrame)),
    foreignDrops: () => foreignDrops(host().nft()),
    events: (onEvent) => listeners.add(onEvent),
    close() {
      listeners.close();
      realms.close();
      namespaces.close();
    },
  };
}

function createHandlers(
  realms: Realms,
  engine: string,
  { listeners, keys, ipvs }: { readonly listeners: Listeners; readonly keys: Keyring; readonly ipvs: Ipvs },
): Handlers {
  return {
    namespace: namespaceHandler(realms, listeners),
    link: new LinkHandler(realms, engine, keys),
    parent: parentHandler(realms, engine),
    address: addressHandler(realms, engine),
    route: routeHandler(realms, engine),
    rule: routingRuleHandler(realms),
    neighbour: neighbourHandler(realms, engine),
    forwarding: forwardingHandler(realms, engine),
    tunnel: tunnelHandler(realms, engine),
    wireguard: wireguardPeerHandler(realms, engine),
    sysctl: sysctlHandler(realms.namespaces),
    ipvs: ipvs.services,
    destination: ipvs.destinations,
  };
}

/** A WireGuard device of ours; undefined when there is none of that name, or it does not answer. */
function readDevice(realms: Realms, engine: string, name: string): WireguardState | undefined {
  const realm = realms.find(encryptedUnderlay);
  const link = realm?.link({ name });
  if (realm === undefined || link === undefined || readMark(link.alias)?.engine !== engine) return undefined;
  try {
    return deviceOf(realm, link).read();
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

function applyAll(steps: readonly Step[], handlers: Handlers, rules: Rules): void {
  for (let at = 0; at < steps.length; ) {
    const run = runAt(steps, at);
    try {
      applyRun(run, handlers, rules);
    } catch (error) {
      if (error instanceof KernelError) error.step = at + (error.step ?? 0);
      throw error;
    }
    at += run.length;
  }
}

/** The steps from `at` on that go to the kernel together; at least one. */
function runAt(steps: readonly Step[], at: number): readonly Step[] {
  const nameAt = (index: number) => (steps[index] === undefined ? undefined : runOf(steps[index]));
  const together = nameAt(at);
  let end = at + 1;
  while (together !== undefined && nameAt(end) === together) end += 1;
  return steps.slice(at, end);
}

/** Steps with one such name can be done together: rules as a transaction, and links that go. */
function runOf(step: Step): string | undefined {
  const { object, verb } = step;
  if (isRuleStep(step)) return `rules|${object.namespace}`;
  return object.kind === "link" && verb === "remove" ? `links|${object.namespace}` : undefined;
}

function applyRun(run: readonly Step[], handlers: Handlers, rules: Rules): void {
  const [first] = run;
  if (first === undefined) return;
  if (isRuleStep(first)) rules.apply(first.object.namespace, run.filter(isRuleStep));
  else if (run.length === 1) applyOne(first, handlers);
  else handlers.link.removeAll(run.flatMap(({ object }) => (object.kind === "link" ? object : [])));
}

function applyOne(step: Step, handlers: Handlers): void {
  const { object } = step;
  if (object.kind === "chain" || object.kind === "element" || object.kind === "timeout") return;
  // TypeScript does not follow that the handler found by an object's kind takes that object.
  const handler = handlers[object.kind] as Handler<PlanObject>;
  if (step.verb === "remove") handler.remove(object);
  else handler.put(object, step.owner);
}

function describeLink(realm: Realm | undefined, engine: string, name: string): ReturnType<Kernel["link"]> {
  const link = realm?.link({ name });
  if (link === undefined) return undefined;
  const mark = readMark(link.alias);
  const { index, type, up, carrier, promiscuous, mtu, mac } = link;
  const state = { name: link.name, index, type, up, carrier, promiscuous, mtu, mac };
  if (mark === undefined) return state;
  return mark.engine === engine ? { ...state, owner: mark.owner } : { ...state, otherEngine: mark.engine };
}
