import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { balancers } from "../src/balancers/index.ts";
import { balancerContract } from "./contract/balancer.ts";
import { balancerObjects } from "./contract/balancer-cases.ts";
import { balancerFixture, balancersFolder, foldersIn } from "./support/fixtures.ts";
import { balancerGolden, difference, goldenOf } from "./support/golden.ts";

const steps = "src/balancers/README.md";

describe("balancers", () => {
  for (const folder of foldersIn(balancersFolder))
    it(`src/balancers/${folder} is in the registry`, () =>
      assert.ok(
        Object.hasOwn(balancers, folder),
        `add the word ${folder} to src/balancers/index.ts: ${steps}, step 5`,
      ));

  for (const [name, balancer] of Object.entries(balancers))
    it(`${name} has the name of its folder`, () => assert.equal(balancer.name, name));
});

for (const [name, balancer] of Object.entries(balancers)) {
  const fixture = await balancerFixture(name);
  const here = `src/balancers/${name}`;
  it(`${name} has cases to be tried with`, () =>
    assert.ok(fixture?.cases.length, `write ${here}/testing.ts with its cases: ${steps}, step 4`));
  if (fixture === undefined) continue;

  balancerContract(balancer, fixture);

  it(`${name} plans what its golden says`, () => {
    const file = balancerGolden(name);
    const toDo = "run `npm run golden`, and look at what git shows of it";
    assert.ok(existsSync(file), `${here}/plan.golden is missing: ${toDo}`);
    const cases = fixture.cases.map((one) => [one.title, balancerObjects(balancer, one)] as const);
    const [golden, planned] = [readFileSync(file, "utf8"), goldenOf(cases)].map((text) => text.split("\n"));
    const other = difference(golden ?? [], planned ?? []);
    assert.equal(other.length, 0, `${here}/plan.golden is not what is planned: ${toDo}\n${other.join("\n")}`);
  });
}
