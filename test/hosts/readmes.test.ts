import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";
import { useSwarm } from "../support/swarm.ts";

const pages = ["src/drivers/overlay/README.md", "src/balancers/nft/README.md"];
/** Pages with commands for one host of a swarm of three, and the section that has them. */
const ofSwarms = [
  ["README.md", "Services"],
  ["docs/services.md", "Where tasks go"],
] as const;

describe("what the READMEs show on several hosts", () => {
  const { host, token, threeManagers } = useSwarm();
  /** The page's token is of a swarm that was. */
  const withToken = async (command: string) =>
    command.includes("SWMTKN-") ? command.replace(/SWMTKN-\S+/, await token("worker")) : command;

  async function shows(number: number, command: string, output: string): Promise<void> {
    const { stdout, stderr } = await host(number).try("sh", "-c", command);
    assert.equal(withoutChance(stdout), withoutChance(output), `${command}\n${stderr}`);
  }

  for (const page of pages)
    it(`${page}: Example`, async () => {
      const samples = samplesIn(sectionOf(readFileSync(page, "utf8"), "Example"));
      assert.deepEqual(new Set(samples.map(({ above }) => numberIn(above))), new Set([1, 2]));
      for (const { above, command, output } of samples) await shows(numberIn(above), await withToken(command), output);
      await host(1).tryDocker("rm", "-f", "db");
    });

  for (const [page, section] of ofSwarms)
    it(`${page}: ${section}`, async () => {
      await threeManagers();
      const samples = samplesIn(sectionOf(readFileSync(page, "utf8"), section));
      assert.notDeepEqual(samples, []);
      for (const { above, command, output } of samples) await shows(numberIn(above), command, output);
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
