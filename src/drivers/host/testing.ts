import type { DriverFixture } from "../../../test/contract/driver.ts";

export const fixture: DriverFixture = {
  optionKeys: [],
  cases: [{ title: "the host's own namespace", network: {}, endpoints: [] }],
  refused: [],
};
