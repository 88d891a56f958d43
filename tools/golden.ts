/** Writes `plan.golden` of every driver and balancer anew. Look at the difference before you commit it. */
import { writeFileSync } from "node:fs";
import { balancers } from "../src/balancers/index.ts";
import { drivers } from "../src/drivers/index.ts";
import { balancerObjects } from "../test/contract/balancer-cases.ts";
import { objectsOf } from "../test/contract/driver-cases.ts";
import { balancerFixture, fixtureOf } from "../test/support/fixtures.ts";
import { balancerGolden, driverGolden, goldenOf } from "../test/support/golden.ts";

for (const [name, driver] of Object.entries(drivers)) {
  const fixture = await fixtureOf(name);
  if (fixture === undefined) throw new Error(`src/drivers/${name} has no testing.ts: src/drivers/README.md, step 4`);
  writeFileSync(driverGolden(name), goldenOf(fixture.cases.map((one) => [one.title, objectsOf(driver, one)])));
}

for (const [name, balancer] of Object.entries(balancers)) {
  const fixture = await balancerFixture(name);
  if (fixture === undefined)
    throw new Error(`src/balancers/${name} has no testing.ts: src/balancers/README.md, step 4`);
  writeFileSync(
    balancerGolden(name),
    goldenOf(fixture.cases.map((one) => [one.title, balancerObjects(balancer, one)])),
  );
}
