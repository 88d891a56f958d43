import assert from "node:assert/strict";
import { it } from "node:test";
import { applyChanges } from "./changes.ts";

const healthCheck = (rest: string) => applyChanges({}, [`HEALTHCHECK ${rest}`]).Healthcheck;

it("a health check is a line for the shell, a list of words, or none", () => {
  assert.deepEqual(healthCheck("CMD test -e /up || exit 1"), { Test: ["CMD-SHELL", "test -e /up || exit 1"] });
  assert.deepEqual(healthCheck('--interval=1m30s --start-interval=2s --retries=5 CMD ["/bin/true", "x"]'), {
    ...{ Test: ["CMD", "/bin/true", "x"], Interval: 90e9, StartInterval: 2e9, Retries: 5 },
  });
  assert.deepEqual(healthCheck("NONE"), { Test: ["NONE"] });
});

it("what makes no sense in a health check is refused", () => {
  const cases: [string, RegExp][] = [
    ["CMD", /Missing command after HEALTHCHECK CMD/],
    ["CMD []", /Missing command after HEALTHCHECK CMD/],
    ["NONE x", /HEALTHCHECK NONE takes no arguments/],
    ["HTTP /", /Unknown type "HTTP" in HEALTHCHECK \(try CMD\)/],
    ["--interval=1 CMD x", /invalid option of HEALTHCHECK: --interval=1/],
    ["--timeout=10us CMD x", /Interval "timeout" cannot be less than 1ms/],
    ["--often=1s CMD x", /invalid option of HEALTHCHECK: --often=1s/],
  ];
  for (const [rest, text] of cases) assert.throws(() => healthCheck(rest), text);
});
