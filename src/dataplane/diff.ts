import { isDeepStrictEqual } from "node:util";
import {
  isSameLink,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type Owner,
  type PlanKind,
  type PlanObject,
} from "../model/plan.ts";
import type { OwnedStep } from "./order.ts";
import { linkOfSysctl } from "./places.ts";

/** An object of ours in the kernel, and for whom it is there. */
export interface Holding {
  readonly owner: Owner;
  readonly object: PlanObject;
}
/** What is there, as far as a comparison asks. */
export interface Holdings {
  /** What is there as this object, in whatever state. */
  get(object: PlanObject): Holding | undefined;
  of(owner: Owner): Iterable<Holding>;
  /** What stands on a link, whoever has it. */
  on(namespace: NamespaceName, link: string): Iterable<Holding>;
}

/** Kinds that carry their owner's mark in the kernel; the others stand on something that does. */
const marked: ReadonlySet<PlanKind> = new Set(["link", "parent", "timeout", "chain", "element"]);
export const isMarked = (kind: PlanKind) => marked.has(kind);

const defaultMtu = 1500; // of bridges and veths (include/uapi/linux/if_ether.h, ETH_DATA_LEN)

/** True when the kernel has what is wished. A link's MAC may be left open; a left out MTU is the default, or the parent's. */
export function matches(wish: PlanObject, found: PlanObject): boolean {
  if (wish.kind !== "link" || found.kind !== "link") return isDeepStrictEqual(wish, found);
  return isDeepStrictEqual(comparable(wish, wish), comparable(found, wish));
}

function comparable(found: LinkObject, wish: LinkObject): object {
  const { adopt: _, ...link } = found;
  const mtu = link.mtu ?? ("parent" in wish ? undefined : defaultMtu);
  return { ...link, mtu, mac: wish.mac === undefined ? undefined : link.mac };
}

/** What has to be done, and what only gets another owner in the books. */
export interface Comparison {
  readonly steps: readonly OwnedStep[];
  readonly taken: readonly Holding[];
}

/**
 * Compares the plans of some owners with what is there. What one of them wants and another has is handed over: a default
 * route or a published port moves in one step.
 */
export function diff(plans: Plans, there: Holdings): Comparison {
  const steps: OwnedStep[] = [];
  const taken: Holding[] = [];
  const wished = new Set<string>();
  for (const [owner, objects] of plans)
    for (const object of objects) {
      const was = there.get(object);
      wished.add(keyOf(object));
      if (was === undefined) steps.push({ verb: "create", object, owner });
      else if (!matches(object, was.object) || (was.owner !== owner && isMarked(object.kind)))
        steps.push({ verb: "change", object, was: was.object, owner });
      else if (was.owner !== owner) taken.push({ owner, object });
    }
  for (const owner of plans.keys())
    for (const { object } of there.of(owner))
      if (!wished.has(keyOf(object))) steps.push({ verb: "remove", object, owner });
  const all = [...steps, ...goneWithLinks(plans, steps)];
  all.push(...goneWithOthersLinks(plans, there, all));
  return { steps: [...all, ...lostRoutes(plans, all)], taken };
}

type Plans = ReadonlyMap<Owner, readonly PlanObject[]>;
const place = ({ namespace, link }: { readonly namespace: string; readonly link?: string }) => `${namespace}|${link}`;

/** A link that can only be made anew takes along what stands on it, which is then written again. */
function goneWithLinks(plans: Plans, steps: readonly OwnedStep[]): OwnedStep[] {
  const remade = changedLinks(steps, (wish, was) => !isSame(was, wish));
  // With an MTU below 1280 a link has no IPv6, and with a larger one again, as new.
  const resized = changedLinks(steps, (wish, was) => was.kind === "link" && wish.mtu !== was.mtu);
  if (remade.size + resized.size === 0) return [];
  return writtenAgain(plans, steps, (o) => {
    if (o.kind !== "sysctl") return "link" in o && remade.has(place(o));
    const at = place({ namespace: o.namespace, link: linkOfSysctl(o.key) });
    return remade.has(at) || resized.has(at);
  });
}

/** A tunnel made anew takes along entries of owners whose plans are the same as before. */
function goneWithOthersLinks(plans: Plans, there: Holdings, steps: readonly OwnedStep[]): OwnedStep[] {
  const written = new Set(steps.map(({ object }) => keyOf(object)));
  return steps.flatMap(({ verb, object: link, ...step }) => {
    if (verb !== "change" || link.kind !== "link" || !("was" in step) || isSame(step.was, link)) return [];
    return [...there.on(link.namespace, link.name)].flatMap(({ object, owner }): OwnedStep[] =>
      written.has(keyOf(object)) || plans.has(owner) ? [] : [{ verb: "create", object, owner }],
    );
  });
}

const isSame = (was: PlanObject, wish: LinkObject) => was.kind === "link" && isSameLink(was, wish);

/** Places of the links that a step changes in such a way. */
const changedLinks = (steps: readonly OwnedStep[], isSo: (wish: LinkObject, was: PlanObject) => boolean): Set<string> =>
  new Set(
    steps.flatMap((step) =>
      step.verb === "change" && step.object.kind === "link" && isSo(step.object, step.was)
        ? place({ namespace: step.object.namespace, link: step.object.name })
        : [],
    ),
  );

/** With the last IPv4 address of a link Linux drops the routes over it (net/ipv4/fib_frontend.c), so those are written again. */
function lostRoutes(plans: Plans, steps: readonly OwnedStep[]): OwnedStep[] {
  const losing = new Set(
    steps.flatMap(({ verb, object }) => (verb === "remove" && object.kind === "address" ? place(object) : [])),
  );
  return losing.size === 0 ? [] : writtenAgain(plans, steps, (o) => o.kind === "route" && losing.has(place(o)));
}

/** Steps for what the plans have and the kernel will have lost, and no other step writes. */
function writtenAgain(plans: Plans, steps: readonly OwnedStep[], isLost: (object: PlanObject) => boolean): OwnedStep[] {
  const written = new Set(steps.map(({ object }) => keyOf(object)));
  return [...plans].flatMap(([owner, objects]) =>
    objects
      .filter((object) => isLost(object) && !written.has(keyOf(object)))
      .map((object): OwnedStep => ({ verb: "create", object, owner })),
  );
}
