import { failpoint } from "../lib/failpoint.ts";
import { type Kernel, KernelError } from "../kernel/kernel.ts";
import type { Owner } from "../model/plan.ts";
import type { Believed } from "./believed.ts";
import { inOrder, type OwnedStep } from "./order.ts";

/**
 * Does the steps in order and takes note of what was done. An owner that is refused a step is left out from there on, and
 * the others go on.
 * @returns what each of those was refused
 */
export function execute(kernel: Kernel, believed: Believed, steps: readonly OwnedStep[]): Map<Owner, Error> {
  const failed = new Map<Owner, Error>();
  let rest = inOrder(steps);
  while (rest.length > 0) {
    try {
      failpoint("dataplane.apply.before");
      kernel.apply(rest);
      failpoint("dataplane.apply.after");
      believed.done(rest);
      return failed;
    } catch (error) {
      const at = error instanceof KernelError ? error.step : undefined;
      const refused = at === undefined ? undefined : rest[at];
      if (refused === undefined) {
        for (const { owner } of rest) failed.set(owner, error as Error);
        return failed;
      }
      believed.done(rest.slice(0, at));
      failed.set(refused.owner, error as Error);
      rest = rest.slice((at ?? 0) + 1).filter((step) => step.owner !== refused.owner);
    }
  }
  return failed;
}
