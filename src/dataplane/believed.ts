import type { Kernel } from "../kernel/kernel.ts";
import { Multimap } from "../lib/multimap.ts";
import { isWatched, keyOf, type NamespaceName, type Owner, type PlanKind, type PlanObject } from "../model/plan.ts";
import { type Holding, type Holdings, isMarked, matches } from "./diff.ts";
import type { OwnedStep } from "./order.ts";
import { onLink, placesOf } from "./places.ts";

/** Kinds that can be read back, links first. Sysctls have no mark: they are compared by value. */
export const readKinds = [
  "link",
  "parent",
  "address",
  "route",
  "rule",
  "neighbour",
  "forwarding",
  "tunnel",
  "wireguard",
  "chain",
  "element",
] as const satisfies PlanKind[];
export type ReadKind = (typeof readKinds)[number];

/** What the kernel has of ours, as far as we know: every step that was done, and every reading. */
export class Believed implements Holdings {
  readonly #held = new Map<string, Holding>();
  readonly #byOwner = new Multimap<Owner, string>();
  readonly #byPlace = new Multimap<string, string>();

  get(key: string): Holding | undefined {
    return this.#held.get(key);
  }
  of(owner: Owner): readonly string[] {
    return this.#byOwner.values(owner);
  }
  owners(): Owner[] {
    return this.#byOwner.keys();
  }
  /** True when something is there of which a kernel event of this kind and name may tell. */
  has(namespace: NamespaceName, kind: PlanKind, name: string): boolean {
    return this.#byPlace.has(`${namespace}|${kind}|${name}`);
  }
  /** Keys of what stands on a link. */
  on(namespace: NamespaceName, link: string): readonly string[] {
    return this.#byPlace.values(onLink(namespace, link));
  }
  /** Namespaces that are watched, besides the host's. */
  watched(): NamespaceName[] {
    return this.owners().flatMap((owner) => {
      const held = this.#held.get(`namespace|${owner}`)?.object.namespace;
      return held !== undefined && isWatched(held) ? held : [];
    });
  }

  set(owner: Owner, object: PlanObject): void {
    const key = keyOf(object);
    this.#drop(key);
    this.#held.set(key, { owner, object });
    this.#byOwner.add(owner, key);
    for (const place of placesOf(object)) this.#byPlace.add(place, key);
  }

  /** Forgets an object and what cannot be there without it. @returns whose all that was */
  delete(key: string): Set<Owner> {
    const owners = new Set<Owner>();
    const gone = [key];
    for (let one = gone.pop(); one !== undefined; one = gone.pop()) {
      const held = this.#drop(one);
      if (held === undefined) continue;
      owners.add(held.owner);
      for (const place of dependents(held.object)) gone.push(...this.#byPlace.values(place));
    }
    return owners;
  }

  #drop(key: string): Holding | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    this.#held.delete(key);
    this.#byOwner.delete(held.owner, key);
    for (const place of placesOf(held.object)) this.#byPlace.delete(place, key);
    return held;
  }

  /** Takes note of steps that the kernel did. */
  done(steps: readonly OwnedStep[]): void {
    for (const { verb, object, owner } of steps)
      if (verb === "remove") this.delete(keyOf(object));
      else this.set(owner, object);
  }

  /** Reads some kinds in one namespace. @returns the owners for whom the kernel has something else than was believed */
  reread(kernel: Kernel, namespace: NamespaceName, kinds: readonly ReadKind[]): Set<Owner> {
    const found = read(kernel, namespace, kinds);
    return new Set(kinds.flatMap((kind) => [...this.#compare(namespace, kind, found.get(kind) ?? new Map())]));
  }

  /** @param found by key */
  #compare(namespace: NamespaceName, kind: ReadKind, found: Map<string, Holding>): Set<Owner> {
    const differing = new Set<Owner>();
    const note = (owners: Iterable<Owner>) => [...owners].forEach((owner) => differing.add(owner));
    for (const key of this.#byPlace.values(`${namespace}|${kind}`)) {
      const held = this.#held.get(key);
      const there = found.get(key);
      if (held === undefined) continue;
      if (there === undefined) note(this.delete(key));
      else if (matches(held.object, there.object) && (!isMarked(kind) || there.owner === held.owner)) found.delete(key);
      else note([held.owner]);
    }
    for (const { owner, object } of found.values()) {
      const held = this.#held.get(keyOf(object));
      const whose = held === undefined || isMarked(kind) ? owner : held.owner;
      note([whose]);
      this.set(whose, object);
    }
    return differing;
  }

  /** Reads everything that carries our mark, in every namespace. */
  readAll(kernel: Kernel): void {
    const others = kernel.namespaces();
    for (const namespace of others) this.set(namespace as Owner, { kind: "namespace", namespace });
    for (const namespace of ["host" as const, ...others]) this.reread(kernel, namespace, readKinds);
  }
}

/** By kind and key. An element in one of our sets that nobody marked is the host's, or the network's: nobody wants it. */
function read(
  kernel: Kernel,
  namespace: NamespaceName,
  kinds: readonly ReadKind[],
): Map<PlanKind, Map<string, Holding>> {
  const all = new Map<PlanKind, Map<string, Holding>>(kinds.map((kind) => [kind, new Map()]));
  for (const { object, owner } of kernel.list(namespace, ...kinds)) {
    const whose = owner ?? (object.kind === "element" ? namespace : undefined);
    if (whose !== undefined) all.get(object.kind)?.set(keyOf(object), { object, owner: whose as Owner });
  }
  return all;
}

/** Places whose objects go with this one. */
function dependents(object: PlanObject): string[] {
  if (object.kind === "namespace") return [object.namespace];
  if (object.kind !== "link") return [];
  const near = onLink(object.namespace, object.name);
  return object.type === "veth" ? [near, onLink(object.peer.namespace, object.peer.name)] : [near];
}
