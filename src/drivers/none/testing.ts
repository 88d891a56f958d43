import type { DriverFixture } from "../../../test/contract/driver.ts";

export const fixture: DriverFixture = {
  optionKeys: [],
  cases: [{ title: "a namespace with its loopback", network: {}, endpoints: [] }],
  refused: [],
};
