import type { NamespaceName, PlanObject } from "../../model/plan.ts";
import type { Found } from "../kernel.ts";
import type { Picture } from "../picture.ts";

/** How one kind of object gets into the kernel and is found there. All of it throws {KernelError}. */
export interface Handler<O extends PlanObject> {
  /** Makes it so, whether it is missing or different. */
  put(object: O, owner: string): void;
  /** Succeeds when it is gone already. */
  remove(object: O): void;
  /** @param picture of the namespace, which is there */
  list(namespace: NamespaceName, picture: Picture): Found[];
}
