import { isDeepStrictEqual } from "node:util";
import {
  type Family,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanKind,
  type PlanObject,
} from "../../model/plan.ts";
import { type Found, type HostRoute, type Kernel, KernelError, type KernelEvent, type Step } from "../kernel.ts";
import { maskBits, splitCidr } from "../netlink/attributes.ts";
import { addressBytes } from "../netlink/attributes.ts";
import { blockNames } from "../nft/base.ts";
import { dependentsOf, linkNames } from "./dependents.ts";

/** A kernel in memory, for tests: it refuses what Linux refuses for want of something else, and what it is told to refuse. */
export interface FakeKernel extends Kernel {
  /** Everything in it, by `keyOf`; without an owner it is somebody else's. */
  readonly state: ReadonlyMap<string, Found>;
  /** What `hostRoutes` answers. */
  readonly foreignRoutes: HostRoute[];
  /** Texts that `nft` ran, in order. */
  readonly texts: { readonly namespace: NamespaceName; readonly text: string }[];
  /** The next step of this verb and kind is refused with this errno's name. */
  failNext(verb: Step["verb"], kind: PlanKind, code: string): void;
  /** Somebody else makes an object, or changes one, past the engine. */
  disturb(object: PlanObject): void;
  /** Somebody else removes an object; what depends on it goes too. */
  lose(key: string): void;
  /** As `nft flush ruleset`. */
  flushRules(): void;
  /** Tells the listeners, at once. */
  emit(event: KernelEvent): void;
  /** One line an object, sorted. */
  print(): string;
}

export function createFakeKernel(): FakeKernel {
  const state = new Map<string, Found>();
  const failures: { verb: Step["verb"]; kind: PlanKind; code: string }[] = [];
  const listeners = new Set<(event: KernelEvent) => void>();
  const base = new Map<Family, ReadonlySet<string>>();
  const sysctls = new Map<string, string>();
  const foreignRoutes: HostRoute[] = [];
  const texts: FakeKernel["texts"] = [];

  const exists = (namespace: NamespaceName) => namespace === "host" || state.has(`namespace|${namespace}`);
  const emit = (event: KernelEvent) => listeners.forEach((listener) => listener(event));

  function tell(object: PlanObject): void {
    if (object.kind === "namespace" || object.namespace !== "host") return;
    const name =
      object.kind === "element"
        ? object.set
        : object.kind === "sysctl"
          ? object.key
          : "name" in object
            ? object.name
            : object.link;
    setImmediate(emit, { kind: object.kind, namespace: "host", name });
  }

  function lose(key: string): void {
    const gone = state.get(key)?.object;
    if (gone === undefined) return;
    state.delete(key);
    tell(gone);
    for (const [other, { object }] of [...state]) {
      const left = dependentsOf(gone, object);
      if (left === undefined) lose(other);
      else if (left !== object) state.set(other, { ...state.get(other), object: left });
    }
  }

  function put(step: Exclude<Step, { verb: "remove" }>): void {
    const { object, owner } = step;
    const key = keyOf(object);
    const before = state.get(key);
    refuse(object);
    if (before !== undefined && before.owner === undefined && object.kind === "link") return;
    if (
      before !== undefined &&
      step.verb === "create" &&
      object.kind === "element" &&
      !isDeepStrictEqual(before.object, object)
    )
      throw new KernelError("EEXIST", `element ${key} exists with another value`);
    if (before !== undefined && !isSameThing(before.object, object)) lose(key);
    if (object.kind === "sysctl") sysctls.set(key, object.value);
    state.set(key, { object, owner });
    if (!isDeepStrictEqual(before?.object, object)) tell(object);
  }

  /** @throws {KernelError} when something that the object needs is not there */
  function refuse(object: PlanObject): void {
    if (object.kind !== "namespace" && !exists(object.namespace))
      throw new KernelError("ENOENT", `no network namespace ${object.namespace}`);
    if (object.kind === "link") refuseLink(object);
    if ("link" in object && !hasLink(object.namespace, object.link))
      throw new KernelError("ENODEV", `no link ${object.link} in ${object.namespace}`);
    if (object.kind === "route" && object.via !== undefined && !isReachable(object.namespace, object.link, object.via))
      throw new KernelError("ENETUNREACH", "Network is unreachable: Nexthop has invalid gateway");
    if (object.kind === "sysctl") readSysctl(object.namespace, object.key);
    if (object.kind === "chain" || object.kind === "element") refuseRule(object);
  }

  function refuseLink(object: LinkObject): void {
    const before = state.get(keyOf(object));
    const foreign = before !== undefined && before.owner === undefined ? before.object : undefined;
    if (foreign !== undefined && (object.adopt !== true || (foreign as LinkObject).type !== object.type))
      throw new KernelError("EEXIST", `link ${object.name} exists and is not ours`);
    if (object.type === "bridge") return;
    const { namespace, name } = object.peer;
    if (!exists(namespace)) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
    if (object.port !== undefined && !hasLink(object.namespace, object.port.bridge))
      throw new KernelError("ENODEV", `no link ${object.port.bridge}`);
    const holder = linkNames(state.values(), namespace).get(name);
    if (holder !== undefined && holder !== keyOf(object)) throw new KernelError("EEXIST", "File exists");
  }

  function refuseRule(object: PlanObject & { kind: "chain" | "element" }): void {
    const { family, namespace } = object;
    if (namespace === "host" && !base.has(family))
      throw new KernelError("ENOENT", "nftables: No such file or directory");
    if (object.kind === "chain") return;
    const target = /^(?:jump|goto) (.+)$/.exec(object.value ?? "")?.[1];
    const missing = namespace === "host" && !base.get(family)?.has(object.set);
    if (missing || (target !== undefined && !state.has(`chain|${namespace}|${family}|${target}`)))
      throw new KernelError("ENOENT", "nftables: No such file or directory");
  }

  const hasLink = (namespace: NamespaceName, name: string) =>
    name === "lo" || linkNames(state.values(), namespace).has(name);

  function isReachable(namespace: NamespaceName, link: string, via: string): boolean {
    const gateway = addressBytes(via);
    return [...state.values()].some(({ object: o }) => {
      if (o.kind !== "address" || o.namespace !== namespace || o.link !== link) return false;
      const { address, prefix } = splitCidr(o.address);
      return address.length === gateway.length && maskBits(address, prefix, 0).equals(maskBits(gateway, prefix, 0));
    });
  }

  function readSysctl(namespace: NamespaceName, key: string): string {
    const link = /^net\.ipv[46]\.(?:conf|neigh)\.([^.]+)\./.exec(key)?.[1]?.replaceAll("/", ".");
    const known = link === undefined || link === "all" || link === "default" || hasLink(namespace, link);
    if (!exists(namespace) || !known || !key.startsWith("net."))
      throw new KernelError("ENOENT", `sysctl ${key}: ENOENT`);
    return sysctls.get(`sysctl|${namespace}|${key}`) ?? "0";
  }

  function remove(object: PlanObject): void {
    const key = keyOf(object);
    const before = state.get(key);
    if (before === undefined || (object.kind === "link" && before.owner === undefined)) return;
    const held = before.object;
    if (object.kind === "route" && held.kind === "route" && (held.link !== object.link || held.via !== object.via))
      return;
    if (object.kind === "chain" && isReferenced(object.namespace, object.family, object.name))
      throw new KernelError("EBUSY", "nftables: Device or resource busy");
    lose(key);
  }

  const isReferenced = (namespace: NamespaceName, family: Family, chain: string) =>
    [...state.values()].some(
      ({ object: o }) =>
        o.kind === "element" && o.namespace === namespace && o.family === family && o.value === `jump ${chain}`,
    );

  function applyOne(step: Step): void {
    const failing = failures.findIndex(({ verb, kind }) => verb === step.verb && kind === step.object.kind);
    const [failure] = failing < 0 ? [] : failures.splice(failing, 1);
    if (failure !== undefined) throw new KernelError(failure.code, `${step.verb} ${keyOf(step.object)}: told to fail`);
    if (step.verb === "remove") remove(step.object);
    else put(step);
  }

  return {
    state,
    foreignRoutes,
    texts,
    emit,
    lose,
    failNext: (verb, kind, code) => void failures.push({ verb, kind, code }),
    disturb(object) {
      const owner = state.get(keyOf(object))?.owner;
      state.set(keyOf(object), owner === undefined ? { object } : { object, owner });
      tell(object);
    },
    flushRules() {
      base.clear();
      for (const [key, { object }] of [...state]) if (object.kind === "chain" || object.kind === "element") lose(key);
    },
    print: () => [...state.values()].map(printOne).toSorted().join(""),
    apply(steps) {
      for (const [index, step] of steps.entries()) {
        try {
          applyOne(step);
        } catch (error) {
          throw error instanceof KernelError ? Object.assign(error, { step: index }) : error;
        }
      }
    },
    list: (namespace, kind) =>
      [...state.values()].filter(
        ({ object, owner }) =>
          object.kind === kind &&
          object.namespace === namespace &&
          (kind !== "link" || owner !== undefined || ("adopt" in object && object.adopt === true)),
      ),
    namespaces: () =>
      [...state.values()].flatMap(({ object }) => (object.kind === "namespace" ? object.namespace : [])).toSorted(),
    link(namespace, name) {
      const found = state.get(linkNames(state.values(), namespace).get(name) ?? "");
      if (found?.object.kind !== "link") return undefined;
      const { type, mtu = 1500 } = found.object;
      return { name, type, up: true, mtu, ...(found.owner !== undefined && { owner: found.owner }) };
    },
    hostRoutes: () => [...foreignRoutes],
    ensureBase(text) {
      for (const family of ["ip", "ip6"] as const) base.set(family, new Set(blockNames(text[family])));
    },
    nft(namespace, text) {
      if (!exists(namespace)) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
      texts.push({ namespace, text });
    },
    sysctl(namespace, key, value) {
      readSysctl(namespace, key);
      if (value !== undefined) sysctls.set(`sysctl|${namespace}|${key}`, value);
      return readSysctl(namespace, key);
    },
    inside(namespace, body) {
      if (!exists(namespace)) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
      return body();
    },
    namespacePath: (namespace) =>
      namespace === "host" ? "/proc/self/ns/net" : `/fake/netns/${namespace.slice("sandbox:".length)}`,
    events(onEvent) {
      listeners.add(onEvent);
      return () => void listeners.delete(onEvent);
    },
    close: () => listeners.clear(),
  };
}

/** A veth with another far end, or a link of another type, is a new link. */
function isSameThing(before: PlanObject, after: PlanObject): boolean {
  if (before.kind !== "link" || after.kind !== "link") return true;
  if (before.type === "bridge" || after.type === "bridge") return before.type === after.type;
  return before.peer.namespace === after.peer.namespace && before.peer.name === after.peer.name;
}

function printOne({ object, owner }: Found): string {
  const { kind: _kind, namespace: _namespace, ...rest } = object;
  return `${keyOf(object)} ${JSON.stringify(rest)}${owner === undefined ? "" : ` # ${owner}`}\n`;
}
