import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";
import { useSwarm } from "../support/swarm.ts";

const pages = ["src/drivers/overlay/README.md", "src/balancers/nft/README.md"];

describe("what the READMEs show on several hosts", () => {
  const { host, token } = useSwarm();
  /** The page's token is of a swarm that was. */
  const withToken = async (command: string) =>
    command.includes("SWMTKN-") ? command.replace(/SWMTKN-\S+/, await token("worker")) : command;

  for (const page of pages)
    it(`${page}: Example`, async () => {
      const samples = samplesIn(sectionOf(readFileSync(page, "utf8"), "Example"));
      assert.deepEqual(new Set(samples.map(({ above }) => numberIn(above))), new Set([1, 2]));
      for (const { above, command, output } of samples) {
        const { stdout, stderr } = await host(numberIn(above)).try("sh", "-c", await withToken(command));
        assert.equal(withoutChance(stdout), withoutChance(output), `${command}\n${stderr}`);
      }
      await host(1).tryDocker("rm", "-f", "db");
    });
});

/** On which host a block is typed. */
function numberIn(above: string): number {
  const number = ["", "On the first host", "On a second one"].findIndex(
    (words) => words !== "" && above.includes(words),
  );
  assert.ok(number > 0, `no host is named in: ${above}`);
  return number;
}
