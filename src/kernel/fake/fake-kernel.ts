import type { IpAddress } from "../../model/ids.ts";
import type { HostRoute } from "../../model/network.ts";
import { createHash } from "node:crypto";
import {
  encryptedUnderlay,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanKind,
  type PlanObject,
} from "../../model/plan.ts";
import { type Found, type FrameSocket, type Kernel, KernelError, type KernelEvent, type Step } from "../kernel.ts";
import { fileOf } from "../namespaces.ts";
import { openSocket } from "../sockets.ts";
import { readSysctl } from "./refusals.ts";
import { World } from "./world.ts";

/** A kernel in memory, for tests: it refuses what Linux refuses for want of something else, and what it is told to refuse. */
export interface FakeKernel extends Kernel {
  /** Everything in it, by `keyOf`; without an owner it is somebody else's. */
  readonly state: ReadonlyMap<string, Found>;
  /** What `hostRoutes` answers. */
  readonly foreignRoutes: HostRoute[];
  /** What `foreignDrops` answers. */
  readonly foreignChains: ReturnType<Kernel["foreignDrops"]>;
  /** What was sent on links, in order. */
  readonly sent: { readonly link: string; readonly frame: Buffer }[];
  /** Texts that `nft` ran, in order. */
  readonly texts: { readonly namespace: NamespaceName; readonly text: string }[];
  /** Tracked connections that were begun to another address than the one that answers. */
  readonly connections: { readonly namespace: NamespaceName; readonly answeredFrom: IpAddress }[];
  /** Types of links that it cannot make, and IPVS. */
  readonly lacking: World["lacking"];
  /** Public keys of the hosts that answer over WireGuard. */
  readonly answeringKeys: Set<string>;
  /** Public keys of pairs that were forgotten, in order. */
  readonly forgotten: readonly string[];
  /** The next step of this verb and kind is refused with this errno's name. */
  failNext(verb: Step["verb"], kind: PlanKind, code: string): void;
  /** Somebody makes or changes an object past the engine; what is ours keeps its owner. */
  disturb(object: PlanObject): void;
  /** Somebody removes an object past the engine; what depends on it goes too. */
  lose(key: string): void;
  /** As `nft flush ruleset` in a namespace, the host's if not told. */
  flushRules(namespace?: NamespaceName): void;
  /** Tells the listeners, at once. */
  emit(event: KernelEvent): void;
  /** One line an object, sorted. */
  print(): string;
}

export function createFakeKernel(): FakeKernel {
  const listeners = new Set<(event: KernelEvent) => void>();
  const emit = (event: KernelEvent) => listeners.forEach((listener) => listener(event));
  const world = new World(emit);
  const failures: { verb: Step["verb"]; kind: PlanKind; code: string }[] = [];
  const foreignRoutes: HostRoute[] = [];
  const foreignChains: FakeKernel["foreignChains"] = [];
  const texts: FakeKernel["texts"] = [];
  const sent: FakeKernel["sent"] = [];
  const connections: FakeKernel["connections"] = [];
  const mustExist = (namespace: NamespaceName) => {
    if (!world.hasNamespace(namespace)) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
  };
  return {
    state: world.state,
    foreignRoutes,
    foreignChains,
    texts,
    sent,
    connections,
    lacking: world.lacking,
    emit,
    failNext: (verb, kind, code) => void failures.push({ verb, kind, code }),
    disturb(object) {
      world.state.set(keyOf(object), { ...world.state.get(keyOf(object)), object });
      world.tell(object);
    },
    lose: (key) => world.lose(key),
    flushRules(namespace = "host") {
      if (namespace === "host") world.base = undefined;
      for (const o of world.objects())
        if (o.namespace === namespace && (o.kind === "chain" || o.kind === "element")) world.lose(keyOf(o));
    },
    print: () => [...world.state.values()].map(printOne).toSorted().join(""),
    apply: (steps) => steps.forEach((step, index) => applyOne(world, failures, step, index)),
    list: (namespace, ...kinds) => kinds.flatMap((kind) => listKind(world, namespace, kind)),
    namespaces: () =>
      world
        .objects()
        .flatMap((o) => (o.kind === "namespace" ? o.namespace : []))
        .toSorted(),
    link: (namespace, name) => describeLink(world, namespace, name),
    hostRoutes: () => [...foreignRoutes],
    waitingPorts: () => [],
    hasAddress: (address) =>
      world
        .objects()
        .some((o) => o.kind === "address" && o.namespace === "host" && o.address.startsWith(`${address}/`)),
    ensureBase: (text) => void (world.base = text),
    nft(namespace, text) {
      mustExist(namespace);
      texts.push({ namespace, text });
    },
    ...tracking(connections, world.leaving),
    sysctl(namespace, key, value) {
      readSysctl(world, namespace, key);
      if (value !== undefined) world.sysctls.set(`sysctl|${namespace}|${key}`, value);
      return readSysctl(world, namespace, key);
    },
    inside(namespace, body) {
      mustExist(namespace);
      return body();
    },
    namespacePath: (namespace) => (namespace === "host" ? "/proc/self/ns/net" : `/fake/netns/${fileOf(namespace)}`),
    socket(namespace, options) {
      mustExist(namespace);
      return openSocket(options);
    },
    hasIpvs: () => !world.lacking.has("ipvs"),
    ...fakeWireguard(world),
    frames: (link) => openFrames(world, sent, link),
    foreignDrops: () => [...foreignChains],
    events(onEvent) {
      listeners.add(onEvent);
      return () => void listeners.delete(onEvent);
    },
    close: () => listeners.clear(),
  };
}

function tracking(
  connections: FakeKernel["connections"],
  leaving: World["leaving"],
): Pick<Kernel, "answering" | "forgetConnections"> {
  return {
    answering: (namespace) => [
      ...new Set([
        ...connections.flatMap((one) => (one.namespace === namespace ? one.answeredFrom : [])),
        ...[...leaving.values()].flatMap((one) => (one.namespace === namespace ? one.address : [])),
      ]),
    ],
    forgetConnections(namespace, from) {
      for (const [key, one] of leaving)
        if (one.namespace === namespace && from.includes(one.address)) leaving.delete(key);
      const left = connections.filter((one) => one.namespace !== namespace || !from.includes(one.answeredFrom));
      return connections.splice(0, connections.length, ...left).length - left.length;
    },
  };
}

/** Keys that nobody can use, on the links that were made with them. */
function fakeWireguard(world: World): WireguardPart {
  let pairs = 0;
  const answeringKeys = new Set<string>();
  const forgotten: string[] = [];
  return {
    answeringKeys,
    forgotten,
    hasWireguard: () => !world.lacking.has("wireguard"),
    wireguardKey(link) {
      const found = world.linkAt(encryptedUnderlay, link);
      return found?.type === "wireguard" ? found.publicKey : undefined;
    },
    newWireguardKey() {
      pairs += 1;
      return createHash("sha256").update(`pair ${pairs}`).digest("base64");
    },
    forgetWireguardKey: (publicKey) => void forgotten.push(publicKey),
    wireguardAnswers(link) {
      const peers = world.objects().flatMap((o) => (o.kind === "wireguard" && o.link === link ? o.publicKey : []));
      return new Set(peers.filter((key) => answeringKeys.has(key)));
    },
  };
}
type WireguardPart = Pick<
  FakeKernel,
  | "answeringKeys"
  | "forgotten"
  | "hasWireguard"
  | "wireguardKey"
  | "newWireguardKey"
  | "forgetWireguardKey"
  | "wireguardAnswers"
>;

/** A socket on a link that is there: it hears nothing. */
function openFrames(world: World, sent: FakeKernel["sent"], link: string): FrameSocket {
  if (world.linkAt("host", link) === undefined) throw new KernelError("ENODEV", `no link ${link} in host`);
  let closed = false;
  return {
    send: (frame) => void sent.push({ link, frame }),
    get closed() {
      return closed;
    },
    close: () => void (closed = true),
  };
}

function applyOne(
  world: World,
  failures: { verb: string; kind: string; code: string }[],
  step: Step,
  index: number,
): void {
  try {
    const at = failures.findIndex(({ verb, kind }) => verb === step.verb && kind === step.object.kind);
    const [failure] = at < 0 ? [] : failures.splice(at, 1);
    if (failure !== undefined) throw new KernelError(failure.code, `${step.verb} ${keyOf(step.object)}: told to fail`);
    if (step.verb === "remove") world.remove(step.object);
    else world.put(step);
  } catch (error) {
    throw error instanceof KernelError ? Object.assign(error, { step: index }) : error;
  }
}

/** Links of others only when a plan uses them. */
function listKind(world: World, namespace: NamespaceName, kind: PlanKind): Found[] {
  const there = [...world.state.values()].filter(
    ({ object }) => object.kind === kind && object.namespace === namespace,
  );
  if (kind !== "link") return there;
  return there.flatMap(({ object, owner = world.users.get(keyOf(object)) }) =>
    owner === undefined ? [] : [{ object, owner }],
  );
}

/** Every namespace has one; to the kernel it is hardware. */
const loopback: LinkObject = {
  kind: "link",
  type: "bridge",
  namespace: "host",
  name: "lo",
  mtu: 65_536,
  mac: "00:00:00:00:00:00",
};

function describeLink(world: World, namespace: NamespaceName, name: string): ReturnType<Kernel["link"]> {
  const found = name === "lo" && world.hasNamespace(namespace) ? loopback : world.linkAt(namespace, name);
  if (found === undefined) return undefined;
  const owner = world.state.get(keyOf(found))?.owner;
  const { mtu = 1500, mac = "02:00:00:00:00:00" } = found;
  const type = found === loopback ? "" : found.type;
  const parent = world.state.get(`parent|${namespace}|${name}`)?.object;
  const promiscuous = parent?.kind === "parent" && parent.promiscuous;
  return {
    name,
    index: 1,
    type,
    up: true,
    carrier: true,
    promiscuous,
    mtu,
    mac,
    ...(owner !== undefined && { owner }),
  };
}

function printOne({ object, owner }: Found): string {
  const { kind: _kind, namespace: _namespace, ...rest } = object;
  return `${keyOf(object)} ${JSON.stringify(rest)}${owner === undefined ? "" : ` # ${owner}`}\n`;
}
