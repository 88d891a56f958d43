import type { Found, Kernel } from "../kernel/kernel.ts";
import { keyOf, type NamespaceName, type Owner, type PlanKind, type PlanObject } from "../model/plan.ts";
import { goneWith, matches } from "./diff.ts";
import type { OwnedStep } from "./order.ts";

/** Kinds that can be read back with their owners. Sysctls have no mark: they are compared by value. */
export const readKinds = [
  "link",
  "address",
  "route",
  "neighbour",
  "forwarding",
  "chain",
  "element",
] as const satisfies PlanKind[];
const none: ReadonlyMap<string, PlanObject> = new Map();

/** What the kernel has of ours, as far as we know: every step that was done, and every reading. */
export class Believed {
  readonly #owners = new Map<Owner, Map<string, PlanObject>>();

  of(owner: Owner): ReadonlyMap<string, PlanObject> {
    return this.#owners.get(owner) ?? none;
  }
  owners(): Owner[] {
    return [...this.#owners.keys()];
  }

  set(owner: Owner, object: PlanObject): void {
    const objects = this.#owners.get(owner) ?? new Map<string, PlanObject>();
    this.#owners.set(owner, objects.set(keyOf(object), object));
  }
  delete(owner: Owner, key: string): void {
    const objects = this.#owners.get(owner);
    objects?.delete(key);
    if (objects?.size === 0) this.#owners.delete(owner);
  }

  /** Takes note of steps that the kernel did. */
  done(steps: readonly OwnedStep[]): void {
    for (const { verb, object, owner } of steps)
      if (verb === "remove") this.delete(owner, keyOf(object));
      else this.set(owner, object);
  }

  /** Forgets what cannot be there without `removed`. @returns whose it was */
  forgetWith(removed: readonly PlanObject[], owners: Iterable<Owner> = this.owners()): Set<Owner> {
    const gone = goneWith(removed);
    const lost = new Set<Owner>();
    for (const owner of [...owners])
      for (const [key, object] of [...this.of(owner)])
        if (gone(object)) {
          this.delete(owner, key);
          lost.add(owner);
        }
    return lost;
  }

  /** Reads one kind in one namespace. @returns the owners for whom the kernel has something else than was believed */
  reread(kernel: Kernel, namespace: NamespaceName, kind: (typeof readKinds)[number]): Set<Owner> {
    const found = new Map(
      kernel.list(namespace, kind).flatMap((f) => (f.owner === undefined ? [] : [[keyOf(f.object), f]])),
    );
    const differing = new Set<Owner>();
    const gone: PlanObject[] = [];
    for (const [owner, objects] of [...this.#owners])
      for (const [key, object] of [...objects]) {
        if (object.kind !== kind || object.namespace !== namespace) continue;
        const there = found.get(key);
        if (there !== undefined && there.owner === owner) found.delete(key);
        if (there !== undefined && there.owner === owner && matches(object, there.object)) continue;
        differing.add(owner);
        if (there !== undefined && there.owner === owner) this.set(owner, there.object);
        else {
          this.delete(owner, key);
          gone.push(object);
        }
      }
    for (const left of found.values()) differing.add(this.#adopt(left as Found & { owner: string }));
    if (gone.some((o) => o.kind === "link")) for (const owner of this.forgetWith(gone)) differing.add(owner);
    return differing;
  }

  #adopt(found: Found & { readonly owner: string }): Owner {
    const owner = found.owner as Owner;
    this.set(owner, found.object);
    return owner;
  }

  /** Reads everything that carries our mark, in every namespace. */
  readAll(kernel: Kernel): void {
    this.#owners.clear();
    const sandboxes = kernel.namespaces().filter((n) => n !== "host");
    for (const namespace of sandboxes) this.set(namespace as Owner, { kind: "namespace", namespace });
    for (const namespace of ["host" as const, ...sandboxes])
      for (const kind of readKinds) this.reread(kernel, namespace, kind);
  }
}
