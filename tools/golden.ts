/** Writes `plan.golden` of every driver anew. Look at the difference before you commit it. */
import { writeFileSync } from "node:fs";
import { drivers } from "../src/drivers/index.ts";
import { fixtureOf } from "../test/support/fixtures.ts";
import { goldenFile, goldenOf } from "../test/support/golden.ts";

for (const [name, driver] of Object.entries(drivers)) {
  const fixture = await fixtureOf(name);
  if (fixture === undefined) throw new Error(`src/drivers/${name} has no testing.ts: src/drivers/README.md, step 4`);
  writeFileSync(goldenFile(name), goldenOf(driver, fixture));
}
