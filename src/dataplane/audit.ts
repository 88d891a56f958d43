import type { Kernel } from "../kernel/kernel.ts";
import { keyOf, type PlanObject } from "../model/plan.ts";
import type { Snapshot } from "../store/store.ts";
import { Believed } from "./believed.ts";
import type { Difference } from "./dataplane.ts";
import { matches } from "./diff.ts";
import { allOwners, type DriverFor, planOf } from "./views.ts";

/** Reads the kernel afresh and compares it with every plan. */
export function audit(
  kernel: Kernel,
  rows: Snapshot,
  driverFor: DriverFor,
  raised: Readonly<Record<string, string>>,
): Difference[] {
  const actual = new Believed();
  actual.readAll(kernel);
  const differences: Difference[] = [];
  for (const owner of allOwners(rows)) {
    for (const object of planOf(rows, owner, driverFor, raised)) {
      const key = keyOf(object);
      const found = object.kind === "sysctl" ? readSysctl(kernel, object) : actual.of(owner).get(key);
      actual.delete(owner, key);
      if (found === undefined) differences.push({ what: "missing", key, owner, object });
      else if (!matches(object, found)) differences.push({ what: "different", key, owner, object });
    }
  }
  for (const owner of actual.owners())
    for (const [key, object] of actual.of(owner)) differences.push({ what: "left over", key, owner, object });
  return differences;
}

/** The same sysctl with the value that the kernel has; undefined when it knows no such key. */
export function readSysctl(kernel: Kernel, object: Extract<PlanObject, { kind: "sysctl" }>): PlanObject | undefined {
  try {
    return { ...object, value: kernel.sysctl(object.namespace, object.key).trim() };
  } catch {
    return undefined;
  }
}
