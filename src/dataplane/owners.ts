import type { Owner, PlanObject } from "../model/plan.ts";
import type { Holding } from "./diff.ts";

/** An object that is held, between others of its owner. */
export interface Held extends Holding {
  before: Held | undefined;
  behind: Held | undefined;
}
export const held = (owner: Owner, object: PlanObject): Held => ({
  owner,
  object,
  before: undefined,
  behind: undefined,
});

/** What each owner has: linked, since most have a few, and lists that grow keep room for sixteen more. */
export class Owners {
  readonly #first = new Map<Owner, Held>();

  all(): Owner[] {
    return [...this.#first.keys()];
  }
  of(owner: Owner): Held[] {
    const found: Held[] = [];
    for (let one = this.#first.get(owner); one !== undefined; one = one.behind) found.push(one);
    return found;
  }
  add(one: Held): void {
    one.behind = this.#first.get(one.owner);
    if (one.behind !== undefined) one.behind.before = one;
    this.#first.set(one.owner, one);
  }
  delete({ owner, before, behind }: Held): void {
    if (behind !== undefined) behind.before = before;
    if (before !== undefined) before.behind = behind;
    else if (behind !== undefined) this.#first.set(owner, behind);
    else this.#first.delete(owner);
  }
}
