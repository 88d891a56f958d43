import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { useHost } from "../support/daemon.ts";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";

/** Pages with commands to be typed, and the section that has them. */
const pages = [
  ["README.md", "A tour"],
  ...globSync("src/drivers/*/README.md")
    .toSorted()
    .map((page) => [page, "Example"] as const),
] as const;

describe("what the READMEs show", () => {
  const host = useHost({ clear: true });

  for (const [page, section] of pages)
    it(`${page}: ${section}`, () => {
      const samples = samplesIn(sectionOf(readFileSync(page, "utf8"), section));
      assert.notEqual(samples.length, 0);
      for (const { command, output } of samples)
        assert.equal(withoutChance(host().shell(command).stdout), withoutChance(output), command);
    });
});
