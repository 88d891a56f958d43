import type { Step } from "../kernel/kernel.ts";
import type { Owner, PlanKind, PlanObject } from "../model/plan.ts";

/**
 * The order in which objects are made; they are removed in reverse. Removals of a round come before its additions: an
 * address or a port that one owner gives up may be another's in the same round. What stays with its owner is changed in place.
 */
export const applyOrder = [
  "namespace", // the ends of cables go into it
  "sandbox sysctl", // `--sysctl` is for every interface to come
  "bridge", // ports need it
  "veth",
  "link sysctl", // before addresses: IPv6 is switched on by one
  "address",
  "route", // its gateway is reached over an address
  "neighbour",
  "forwarding",
  "chain", // elements jump to it
  "element",
] as const;
type Place = (typeof applyOrder)[number];

const places: { readonly [K in PlanKind]: (object: Extract<PlanObject, { kind: K }>, owner: string) => Place } = {
  namespace: () => "namespace",
  sysctl: (_, owner) => (owner === "host" || owner.startsWith("sandbox:") ? "sandbox sysctl" : "link sysctl"),
  link: (object) => object.type,
  address: () => "address",
  route: () => "route",
  neighbour: () => "neighbour",
  forwarding: () => "forwarding",
  chain: () => "chain",
  element: () => "element",
};

const rank = ({ object, owner }: OwnedStep) =>
  applyOrder.indexOf((places[object.kind] as (o: PlanObject, owner: string) => Place)(object, owner));

/** A step with the owner that wants it. */
export type OwnedStep = Step & { readonly owner: Owner };

/** Removals from the last kind to the first, then the rest from the first to the last. */
export function inOrder(steps: readonly OwnedStep[]): OwnedStep[] {
  const removals = steps.filter((s) => s.verb === "remove").toSorted((a, b) => rank(b) - rank(a));
  return [...removals, ...steps.filter((s) => s.verb !== "remove").toSorted((a, b) => rank(a) - rank(b))];
}
