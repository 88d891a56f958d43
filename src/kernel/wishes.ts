import { keyOf, type PlanObject } from "../model/plan.ts";

/**
 * What this process last asked for, by key. The kernel does not keep everything a plan says (whether an MTU was wished
 * for or is the default; how a rule was written), so a found object that satisfies the wish is listed as the wish.
 * After a restart nothing is remembered: such an object then differs once, and is written again as it is.
 */
export interface Wishes<O extends PlanObject> {
  readonly remember: (object: O, owner: string) => void;
  readonly forget: (object: PlanObject) => void;
  readonly get: (key: string) => { readonly object: O; readonly owner: string } | undefined;
  readonly all: () => Iterable<{ readonly object: O; readonly owner: string }>;
}

export function createWishes<O extends PlanObject>(): Wishes<O> {
  const known = new Map<string, { readonly object: O; readonly owner: string }>();
  return {
    remember: (object, owner) => known.set(keyOf(object), { object, owner }),
    forget: (object) => known.delete(keyOf(object)),
    get: (key) => known.get(key),
    all: () => known.values(),
  };
}
