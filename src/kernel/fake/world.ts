import { isDeepStrictEqual } from "node:util";
import {
  type BaseText,
  type DestinationObject,
  isSameLink,
  isWatched,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanObject,
  type RuleFamily,
  type TimeoutObject,
  type TunnelObject,
  type WireguardPeerObject,
} from "../../model/plan.ts";
import { type Found, KernelError, type KernelEvent, type Step } from "../kernel.ts";
import { hasManyDestinations } from "../netlink/tunnels.ts";
import { endsOf, leftWithout, standsOn } from "./dependents.ts";
import { refuse } from "./refusals.ts";

type Put = Exclude<Step, { readonly verb: "remove" }>;

/** What the fake kernel holds, and how one thing there depends on another. */
export class World {
  /** By `keyOf`; without an owner it is somebody else's. */
  readonly state = new Map<string, Found>();
  /** Who uses somebody else's link, by key. */
  readonly users = new Map<string, string>();
  readonly sysctls = new Map<string, string>();
  /** What tables begin with; undefined before somebody said it, and when the host's were flushed. */
  base: BaseText | undefined;
  /** Types of links that it cannot make, and IPVS. */
  readonly lacking = new Set<LinkObject["type"] | "ipvs">();
  /** IPVS destinations that were removed and not forgotten, by key. */
  readonly leaving = new Map<string, DestinationObject>();
  readonly #tell: (event: KernelEvent) => void;

  constructor(tell: (event: KernelEvent) => void) {
    this.#tell = tell;
  }

  objects(): PlanObject[] {
    return [...this.state.values()].map((found) => found.object);
  }
  hasNamespace(namespace: NamespaceName): boolean {
    return namespace === "host" || this.state.has(`namespace|${namespace}`);
  }
  /** The link that has an end of this name there. */
  linkAt(namespace: NamespaceName, name: string): LinkObject | undefined {
    const isEnd = (end: { namespace: NamespaceName; name: string }) => end.namespace === namespace && end.name === name;
    return this.objects().find((o) => o.kind === "link" && endsOf(o).some(isEnd)) as LinkObject | undefined;
  }

  put({ verb, object, owner }: Put): void {
    const key = keyOf(object);
    const before = this.state.get(key);
    refuse(this, object);
    // Somebody else's link, which the plan uses: it stays without an owner.
    if (before !== undefined && before.owner === undefined && object.kind === "link") {
      this.state.set(key, { object });
      this.users.set(key, owner);
      return;
    }
    const same = isDeepStrictEqual(before?.object, object);
    if (before !== undefined && verb === "create" && object.kind === "element" && !same)
      throw new KernelError("EEXIST", "nftables: File exists");
    if (object.kind === "link" && before?.object.kind === "link") this.#relink(before.object, object);
    if (object.kind === "sysctl") this.sysctls.set(key, object.value);
    if (object.kind === "tunnel") this.#redirect(object);
    if (object.kind === "wireguard") this.#takeAddress(object);
    this.leaving.delete(key);
    this.state.set(key, { object, owner });
    if (!same) this.tell(object);
  }

  /** Only what is really the object goes: not somebody else's link, nor a route that leads elsewhere by now. */
  remove(object: PlanObject): void {
    const found = this.state.get(keyOf(object));
    if (found === undefined) return;
    if (object.kind === "link" && found.owner === undefined) {
      this.users.delete(keyOf(object));
      return;
    }
    const held = found.object;
    if (object.kind === "route" && held.kind === "route" && (held.link !== object.link || held.via !== object.via))
      return;
    if (object.kind === "timeout" && this.#isNamed(object))
      throw new KernelError("EBUSY", "nftables: Could not process rule: Device or resource busy");
    if (object.kind === "chain" && this.#isReferenced(object.namespace, object.family, object.name))
      throw new KernelError("EBUSY", "nftables: Could not process rule: Device or resource busy");
    if (object.kind === "destination") this.leaving.set(keyOf(object), object);
    this.lose(keyOf(object));
  }

  /** It goes, and what depends on it. */
  lose(key: string): void {
    const gone = this.state.get(key)?.object;
    if (gone === undefined) return;
    this.state.delete(key);
    this.tell(gone);
    for (const [name, one] of this.leaving) if (leftWithout(gone, one) === undefined) this.leaving.delete(name);
    for (const other of this.objects()) {
      const left = leftWithout(gone, other);
      if (left === undefined) this.lose(keyOf(other));
      else if (left !== other) {
        this.state.set(keyOf(other), { ...this.state.get(keyOf(other)), object: left });
        this.#leaveBridge(other);
      }
    }
  }

  /** The bridge forgets who was behind the port. */
  #leaveBridge(port: PlanObject): void {
    const entries = this.objects().filter((o) => o.kind === "forwarding" && port.kind === "link" && standsOn(port, o));
    for (const entry of entries) this.lose(keyOf(entry));
  }

  /** As the multicast groups of the host's namespace and of networks' do, after the call. */
  tell(object: PlanObject): void {
    const { kind, namespace } = object;
    if (kind === "namespace" || !isWatched(namespace)) return;
    setImmediate(this.#tell, { kind, namespace, name: eventName(object) });
  }

  /** A veth with another far end, or a link of another type, is a new link; with another MAC it forgets its neighbours. */
  #relink(before: LinkObject, after: LinkObject): void {
    if (!isSameLink(before, after)) return this.lose(keyOf(before));
    const changed = endsOf(after).filter((end, i) => end.mac !== endsOf(before)[i]?.mac);
    const neighbours = this.objects().filter((o) => o.kind === "neighbour" && changed.some((end) => standsOn(end, o)));
    for (const neighbour of neighbours) this.lose(keyOf(neighbour));
    if (bridgeOf(before) !== undefined && bridgeOf(before) !== bridgeOf(after)) this.#leaveBridge(before);
  }

  /** A MAC has one destination, unless it is one for many hosts. */
  #redirect(tunnel: TunnelObject): void {
    if (hasManyDestinations(tunnel.mac)) return;
    for (const o of this.objects())
      if (o.kind === "tunnel" && o.mac === tunnel.mac && o.destination !== tunnel.destination && isOnSame(o, tunnel))
        this.lose(keyOf(o));
  }

  #isNamed(timeout: TimeoutObject): boolean {
    return this.objects().some(
      (o) =>
        o.kind === "chain" &&
        o.namespace === timeout.namespace &&
        o.family === timeout.family &&
        o.rules.some((rule) => rule.endsWith(`ct timeout set "${timeout.name}"`)),
    );
  }

  /** On one WireGuard link an address is behind one key: the last. */
  #takeAddress({ namespace, link, publicKey, address }: WireguardPeerObject): void {
    for (const [key, { object, ...found }] of this.state)
      if (object.kind === "wireguard" && object.namespace === namespace && object.link === link)
        if (object.publicKey !== publicKey && object.address === address)
          this.state.set(key, { ...found, object: { ...object, address: "" } });
  }

  #isReferenced(namespace: NamespaceName, family: RuleFamily, chain: string): boolean {
    return this.objects().some(
      (o) => o.kind === "element" && o.namespace === namespace && o.family === family && o.value === `jump ${chain}`,
    );
  }
}

const bridgeOf = (link: LinkObject) => ("port" in link ? link.port?.bridge : undefined);
const isOnSame = (one: TunnelObject, other: TunnelObject) =>
  one.namespace === other.namespace && one.link === other.link;

function eventName(object: Exclude<PlanObject, { kind: "namespace" }>): string {
  if (object.kind === "element") return object.set;
  if (object.kind === "sysctl") return object.key;
  if (object.kind === "rule") return String(object.priority);
  if (object.kind === "ipvs" || object.kind === "destination") return String(object.mark);
  return "name" in object ? object.name : object.link;
}
