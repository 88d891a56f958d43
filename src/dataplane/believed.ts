import type { Kernel } from "../kernel/kernel.ts";
import { Multimap } from "../lib/multimap.ts";
import { ObjectMap, tableOf } from "../model/object-map.ts";
import { isWatched, type NamespaceName, type Owner, type PlanKind, type PlanObject } from "../model/plan.ts";
import { type Holding, type Holdings, isMarked, matches } from "./diff.ts";
import type { OwnedStep } from "./order.ts";
import { onLink, placesOf } from "./places.ts";
import { type Held, held, Owners } from "./owners.ts";

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
  "ipvs",
  "destination",
  "timeout",
  "chain",
  "element",
] as const satisfies PlanKind[];
export type ReadKind = (typeof readKinds)[number];

/** What the kernel has of ours, as far as we know: every step that was done, and every reading. */
export class Believed implements Holdings {
  readonly #held = new ObjectMap<Held>();
  readonly #owners = new Owners();
  /** Tables by where kernel events look for what is in them. */
  readonly #places = new Multimap<string, string>();

  get(object: PlanObject): Holding | undefined {
    return this.#held.get(object);
  }
  of(owner: Owner): readonly Holding[] {
    return this.#owners.of(owner);
  }
  owners(): Owner[] {
    return this.#owners.all();
  }
  /** True when something is there of which a kernel event of this kind and name may tell. */
  has(namespace: NamespaceName, kind: PlanKind, name: string): boolean {
    return this.#places.has(`${namespace}|${kind}|${name}`);
  }
  /** What stands on a link. */
  on(namespace: NamespaceName, link: string): readonly Holding[] {
    return this.#at(onLink(namespace, link));
  }
  /** Namespaces that are watched, besides the host's. */
  watched(): NamespaceName[] {
    return this.owners().flatMap((owner) => {
      const namespace = owner as NamespaceName;
      return isWatched(namespace) && this.get({ kind: "namespace", namespace }) !== undefined ? namespace : [];
    });
  }

  #at(place: string): readonly Held[] {
    return this.#places.values(place).flatMap((table) => this.#held.in(table));
  }

  set(owner: Owner, object: PlanObject): void {
    this.#drop(object);
    const table = tableOf(object);
    if (!this.#held.has(table)) for (const place of placesOf(object)) this.#places.add(place, table);
    const one = held(owner, object);
    this.#held.set(object, one);
    this.#owners.add(one);
  }

  /** Forgets an object and what cannot be there without it. @returns whose all that was */
  delete(object: PlanObject): Set<Owner> {
    const owners = new Set<Owner>();
    const gone = [object];
    for (let one = gone.pop(); one !== undefined; one = gone.pop()) {
      const dropped = this.#drop(one);
      if (dropped === undefined) continue;
      owners.add(dropped.owner);
      for (const place of dependents(dropped.object)) for (const { object: other } of this.#at(place)) gone.push(other);
    }
    return owners;
  }

  #drop(object: PlanObject): Held | undefined {
    const one = this.#held.get(object);
    if (one === undefined) return undefined;
    this.#owners.delete(one);
    this.#held.delete(object);
    const table = tableOf(object);
    if (!this.#held.has(table)) for (const place of placesOf(one.object)) this.#places.delete(place, table);
    return one;
  }

  /** Takes note of steps that the kernel did. */
  done(steps: readonly OwnedStep[]): void {
    for (const { verb, object, owner } of steps)
      if (verb === "remove") this.delete(object);
      else this.set(owner, object);
  }

  /** Reads some kinds in one namespace. @returns the owners for whom the kernel has something else than was believed */
  reread(kernel: Kernel, namespace: NamespaceName, kinds: readonly ReadKind[]): Set<Owner> {
    const found = read(kernel, namespace, kinds);
    return new Set(kinds.flatMap((kind) => [...this.#compare(namespace, kind, found.get(kind) ?? new ObjectMap())]));
  }

  #compare(namespace: NamespaceName, kind: ReadKind, found: ObjectMap<Holding>): Set<Owner> {
    const differing = new Set<Owner>();
    for (const one of this.#at(`${namespace}|${kind}`)) {
      const { owner, object } = one;
      if (this.get(object) !== one) continue; // it went with another one
      const there = found.get(object);
      if (there === undefined) for (const whose of this.delete(object)) differing.add(whose);
      else if (matches(object, there.object) && (!isMarked(kind) || there.owner === owner)) found.delete(object);
      else differing.add(owner);
    }
    for (const { owner, object } of found.values()) {
      const known = this.get(object);
      const whose = known === undefined || isMarked(kind) ? owner : known.owner;
      differing.add(whose);
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

/** What stands on no link of ours, and carries no mark that says for whom: without a plan that wants it, it is the namespace's. */
const hasNoHolder = (object: PlanObject) =>
  object.kind === "element" || (object.kind === "route" && object.unreachable === true);

/** By kind. */
function read(kernel: Kernel, namespace: NamespaceName, kinds: readonly ReadKind[]): Map<PlanKind, ObjectMap<Holding>> {
  const all = new Map<PlanKind, ObjectMap<Holding>>(kinds.map((kind) => [kind, new ObjectMap()]));
  for (const { object, owner } of kernel.list(namespace, ...kinds)) {
    const whose = owner ?? (hasNoHolder(object) ? namespace : undefined);
    if (whose !== undefined) all.get(object.kind)?.set(object, { owner: whose as Owner, object });
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
