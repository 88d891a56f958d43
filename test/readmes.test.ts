import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { samplesIn, sectionOf, sections } from "./support/readme.ts";

/** A folder for each driver and each balancer: where there are none yet, there is nothing to ask for. */
for (const folder of globSync("src/{drivers,balancers}/*/").toSorted())
  describe(`the README of ${folder}`, () => {
    const file = join(folder, "README.md");
    const read = () => {
      assert.ok(existsSync(file), `write ${file}: a title "# ${basename(folder)}: …", then ${sections.join(", ")}`);
      return readFileSync(file, "utf8");
    };

    it("has its name and its sections, in order", () => {
      const headings = [...read().matchAll(/^##? (.+)$/gm)].map(([, heading = ""]) => heading);
      assert.match(headings[0] ?? "", new RegExp(`^${basename(folder)}: .`));
      assert.deepEqual(headings.slice(1), sections);
    });

    it("says something in each of them", () => {
      for (const section of sections) assert.match(sectionOf(read(), section), /\S/, section);
    });

    it("has an example that can be run", () =>
      assert.notDeepEqual(samplesIn(sectionOf(read(), "Example")), [], "a `console` block with commands after `$ `"));
  });

it("every link of a page leads to a file", () => {
  for (const page of globSync("{*.md,{docs,src}/**/*.md}"))
    for (const [, target = ""] of readFileSync(page, "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g))
      assert.ok(existsSync(join(dirname(page), target)), `${page}: ${target}`);
});
