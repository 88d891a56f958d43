import { join } from "node:path";
import { printPlan } from "../../src/drivers/print-plan.ts";
import type { PlanObject } from "../../src/model/plan.ts";
import { balancersFolder, driversFolder } from "./fixtures.ts";

const header =
  "Plans as the commands that would do the same, written by `npm run golden`.\n" +
  "The first case is whole; of the others there is what they take away from it (-) and what they add (+).\n";

export const driverGolden = (name: string): string => join(driversFolder, name, "plan.golden");
export const balancerGolden = (name: string): string => join(balancersFolder, name, "plan.golden");

/** A case's heading, and all that is planned for it. */
export type Planned = readonly [title: string, objects: readonly PlanObject[]];

/** What `plan.golden` of a driver or a balancer should be. */
export function goldenOf(cases: readonly Planned[]): string {
  const [first = [], ...others] = cases.map(([, objects]) => linesOf(objects));
  const bodies = [first, ...others.map((lines) => difference(first, lines))];
  const sections = bodies.map((lines, at) => {
    const empty = at === 0 || first.length === 0 ? "(nothing)" : "(the same)";
    return `\n# ${cases[at]?.[0]}\n${(lines.length === 0 ? [empty] : lines).join("\n")}\n`;
  });
  return header + sections.join("");
}

/** Ids of sandboxes are cut: their first digits tell them apart. */
const linesOf = (objects: readonly PlanObject[]): string[] =>
  printPlan(objects)
    .replaceAll(/\b([0-9a-f]{11})[0-9a-f]{53}\b/g, "$1…")
    .split("\n")
    .filter((line) => line !== "");

/** The lines that turn `before` into `after`, in order, by the longest common subsequence. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  const common = before.map(() => after.map(() => 0)); // how long it is from here to both ends
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      (common[i] as number[])[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length)
    if (before[i] === after[j]) [i, j] = [i + 1, j + 1];
    else if (i < before.length && at(i + 1, j) >= at(i, j + 1)) lines.push(`- ${before[i++]}`);
    else lines.push(`+ ${after[j++]}`);
  return lines;
}
