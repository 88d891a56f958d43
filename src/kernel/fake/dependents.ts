import { keyOf, type LinkObject, type NamespaceName, type PlanObject } from "../../model/plan.ts";
import type { Found } from "../kernel.ts";

/** Names of the links in a namespace, far ends of veths included, with the key of the object that makes each. */
export function linkNames(state: Iterable<Found>, namespace: NamespaceName): Map<string, string> {
  const names = new Map<string, string>();
  for (const { object } of state) {
    if (object.kind !== "link") continue;
    for (const end of endsOf(object)) if (end.namespace === namespace) names.set(end.name, keyOf(object));
  }
  return names;
}

const endsOf = (link: LinkObject): { readonly namespace: NamespaceName; readonly name: string }[] =>
  link.type === "veth" ? [link, link.peer] : [link];

/** What is left of `object` when `gone` goes: itself, a port that has no bridge any more, or undefined. */
export function dependentsOf(gone: PlanObject, object: PlanObject): PlanObject | undefined {
  if (gone.kind === "namespace") return dependsOnNamespace(gone.namespace, object) ? undefined : object;
  if (gone.kind !== "link") return object;
  if (endsOf(gone).some((end) => standsOn(end, object))) return undefined;
  if (object.kind !== "link" || object.type !== "veth" || object.namespace !== gone.namespace) return object;
  if (object.port?.bridge !== gone.name) return object;
  const { port: _, ...alone } = object;
  return alone;
}

const dependsOnNamespace = (namespace: NamespaceName, object: PlanObject) =>
  object.namespace === namespace ||
  (object.kind === "link" && object.type === "veth" && object.peer.namespace === namespace);

function standsOn(end: { readonly namespace: NamespaceName; readonly name: string }, object: PlanObject): boolean {
  if (object.namespace !== end.namespace) return false;
  if ("link" in object) return object.link === end.name;
  return object.kind === "sysctl" && object.key.includes(`.${end.name.replaceAll(".", "/")}.`);
}
