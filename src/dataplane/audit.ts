import type { Kernel } from "../kernel/kernel.ts";
import { keyOf, type Plan, type PlanObject, type SysctlObject } from "../model/plan.ts";
import { hostLimits } from "./base.ts";
import { Believed } from "./believed.ts";
import type { Difference } from "./dataplane.ts";
import { isMarked, matches } from "./diff.ts";

/** Reads the kernel afresh and compares it with every plan: what is missing, different, or left over. */
export function audit(kernel: Kernel, plans: Iterable<Plan>): Difference[] {
  const actual = new Believed();
  actual.readAll(kernel);
  const differences: Difference[] = [];
  const wished = new Set<string>();
  for (const { owner, objects } of plans)
    for (const object of objects) {
      const key = keyOf(object);
      wished.add(key);
      const held = actual.get(object);
      const found = object.kind === "sysctl" ? readSysctl(kernel, object) : held?.object;
      const other = isMarked(object.kind) && held?.owner !== owner && !isAdopted(object);
      if (found === undefined && !(isAdopted(object) && isThere(kernel, object)))
        differences.push({ what: "missing", key, owner, object });
      else if (found !== undefined && (!matches(object, found) || other))
        differences.push({ what: "different", key, owner, object });
    }
  for (const owner of actual.owners())
    for (const { object } of actual.of(owner)) {
      const key = keyOf(object);
      if (!wished.has(key)) differences.push({ what: "left over", key, owner, object });
    }
  return differences;
}

const isAdopted = (object: PlanObject) => object.kind === "link" && object.adopt === true;
const isThere = (kernel: Kernel, object: PlanObject) =>
  object.kind === "link" && kernel.link(object.namespace, object.name)?.type === object.type;

/** The same sysctl with the value that the kernel has; undefined when it knows no such key. */
export function readSysctl(kernel: Kernel, object: SysctlObject): SysctlObject | undefined {
  try {
    const found = kernel.sysctl(object.namespace, object.key);
    return isEnough(object, found) ? object : { ...object, value: found.trim() };
  } catch {
    return undefined;
  }
}

/** Several numbers are printed with tabs between them, however they were written; a limit may be higher. */
function isEnough({ key, value }: SysctlObject, found: string): boolean {
  const words = (text: string) => text.trim().split(/\s+/).join(" ");
  return words(found) === words(value) || (Object.hasOwn(hostLimits, key) && Number(found) >= Number(value));
}
