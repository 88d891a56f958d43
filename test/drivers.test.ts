import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { drivers } from "../src/drivers/index.ts";
import { driverContract } from "./contract/driver.ts";
import { objectsOf } from "./contract/driver-cases.ts";
import { driversFolder, fixtureOf, foldersIn } from "./support/fixtures.ts";
import { difference, driverGolden, goldenOf } from "./support/golden.ts";
import { optionsIn } from "./support/readme.ts";

const steps = "src/drivers/README.md";

describe("drivers", () => {
  for (const folder of foldersIn(driversFolder))
    it(`src/drivers/${folder} is in the registry`, () =>
      assert.ok(Object.hasOwn(drivers, folder), `add the word ${folder} to src/drivers/index.ts: ${steps}, step 5`));

  for (const [name, driver] of Object.entries(drivers))
    it(`${name} has the name of its folder`, () => assert.equal(driver.name, name));
});

for (const [name, driver] of Object.entries(drivers)) {
  const fixture = await fixtureOf(name);
  const here = `src/drivers/${name}`;
  it(`${name} has cases to be tried with`, () =>
    assert.ok(fixture?.cases.length, `write ${here}/testing.ts with its cases and refusals: ${steps}, step 4`));
  if (fixture === undefined) continue;

  driverContract(driver, fixture);

  it(`${name} plans what its golden says`, () => {
    const file = driverGolden(name);
    const cases = fixture.cases.map((one) => [one.title, objectsOf(driver, one)] as const);
    const toDo = "run `npm run golden`, and look at what git shows of it";
    assert.ok(existsSync(file), `${here}/plan.golden is missing: ${toDo}`);
    const [golden, planned] = [readFileSync(file, "utf8"), goldenOf(cases)].map((text) => text.split("\n"));
    const other = difference(golden ?? [], planned ?? []);
    assert.equal(other.length, 0, `${here}/plan.golden is not what is planned: ${toDo}\n${other.join("\n")}`);
  });

  it(`${name} has its options in its README`, () => {
    const file = join(driversFolder, name, "README.md");
    assert.ok(existsSync(file), `write ${here}/README.md: ${steps}, step 5`);
    assert.deepEqual(
      optionsIn(readFileSync(file, "utf8")),
      fixture.optionKeys.toSorted(),
      `${here}/README.md, Options`,
    );
  });
}

it("a golden shows that lines are in another order", () => {
  assert.deepEqual(difference(["accept", "drop", "return"], ["drop", "accept"]), ["- accept", "- return", "+ accept"]);
  assert.deepEqual(difference(["drop"], ["drop"]), []);
});
