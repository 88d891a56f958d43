import { isDeepStrictEqual } from "node:util";
import { keyOf, type Owner, type PlanObject } from "../model/plan.ts";
import type { OwnedStep } from "./order.ts";

/** True when the kernel has what is wished; what the wish leaves open may be anything. */
export function matches(wish: PlanObject, found: PlanObject): boolean {
  const there = found as unknown as Record<string, unknown>;
  return Object.entries(wish).every(([key, value]) => value === undefined || isDeepStrictEqual(there[key], value));
}

/** What has to be done so that an owner has its plan. A sysctl that is no longer wished keeps its value. */
export function diff(owner: Owner, wished: readonly PlanObject[], has: ReadonlyMap<string, PlanObject>): OwnedStep[] {
  const steps: OwnedStep[] = [];
  const keys = new Set<string>();
  for (const object of wished) {
    const key = keyOf(object);
    keys.add(key);
    const was = has.get(key);
    if (was === undefined) steps.push({ verb: "create", object, owner });
    else if (!matches(object, was)) steps.push({ verb: "change", object, was, owner });
  }
  for (const [key, object] of has) if (!keys.has(key)) steps.push({ verb: "remove", object, owner });
  return steps;
}

/**
 * Leaves out removals that come with another: what is inside a namespace goes with it, what is on a link goes with the
 * link, and the far end of a cable with the near one.
 */
export function withoutImplied(steps: readonly OwnedStep[]): OwnedStep[] {
  const gone = goneWith(steps.flatMap((s) => (s.verb === "remove" ? [s.object] : [])));
  return steps.filter((s) => s.verb !== "remove" || (s.object.kind !== "sysctl" && !gone(s.object)));
}

/** Tells which objects cannot be there any more when these are gone. */
export function goneWith(removed: readonly PlanObject[]): (object: PlanObject) => boolean {
  const namespaces = new Set<string>();
  const links = new Set<string>();
  for (const object of removed) {
    if (object.kind === "namespace") namespaces.add(object.namespace);
    if (object.kind !== "link") continue;
    links.add(`${object.namespace}|${object.name}`);
    if (object.type === "veth") links.add(`${object.peer.namespace}|${object.peer.name}`);
  }
  return (object) => {
    if (object.kind !== "namespace" && namespaces.has(object.namespace)) return true;
    if (object.kind === "sysctl") return links.has(`${object.namespace}|${linkOfSysctl(object.key)}`);
    return "link" in object && links.has(`${object.namespace}|${object.link}`);
  };
}

/** `net.ipv4.conf.br-0/1.route_localnet` is about `br-0.1`. */
const linkOfSysctl = (key: string) => (key.split(".")[3] ?? "").replaceAll("/", ".");
