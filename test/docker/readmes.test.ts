import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { drivers } from "../../src/drivers/index.ts";
import { useHost } from "../support/daemon.ts";
import { fixtureOf } from "../support/fixtures.ts";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";

/** Pages with commands to be typed, and the section that has them. */
const pages = [
  ["README.md", "A tour"],
  ...globSync("src/drivers/*/README.md")
    .toSorted()
    .map((page) => [page, "Example"] as const),
] as const;

/** Kinds of links that this kernel has beyond what every kernel has: see test/kernel/drivers.test.ts. */
const has = (process.env.TOMBOLO_KERNEL_HAS ?? "").split(" ");

/**
 * A driver all of whose cases need what this kernel lacks is shown in the lane that has it. One whose networks reach over
 * hosts is shown on a lab's: test/hosts/readmes.test.ts.
 */
async function isForHere(page: string): Promise<boolean> {
  const name = page.split("/")[2] ?? "";
  if (drivers[name]?.scope === "cluster") return false;
  const { cases = [] } = (await fixtureOf(name)) ?? {};
  return cases.length === 0 || cases.some(({ needs }) => needs === undefined || has.includes(needs));
}

describe("what the READMEs show", async () => {
  const host = useHost({ clear: true });

  for (const [page, section] of pages) {
    if (!(await isForHere(page))) continue;
    it(`${page}: ${section}`, () => {
      const samples = samplesIn(sectionOf(readFileSync(page, "utf8"), section));
      assert.notEqual(samples.length, 0);
      for (const { command, output } of samples)
        assert.equal(withoutChance(host().shell(command).stdout), withoutChance(output), command);
    });
  }
});
