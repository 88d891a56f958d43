import type { Kernel } from "../kernel/kernel.ts";
import type { Store } from "../store/store.ts";
import type { Dataplane } from "./dataplane.ts";
import { Loop } from "./loop.ts";
import type { OnParent } from "./parents.ts";
import type { Planners } from "./views.ts";

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
export interface DataplaneParts extends Planners {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly log: Log;
  /** Is told when a link changes on which networks stand. */
  readonly onParent?: OnParent;
}

/** The loop that makes the kernel match the plans, over a store, a kernel and the drivers. It does nothing until `start`. */
export const createDataplane = (parts: DataplaneParts): Dataplane => new Loop(parts);
