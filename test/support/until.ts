import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** How long tests wait for what comes at once on an idle machine, milliseconds. */
export const patience = 60_000;
/** For what comes within a second by an event, milliseconds: with a slow machine's share. After a minute it would come of itself. */
export const soon = 2500;

/** Milliseconds since the boot in which somebody waited for a processor or a disk (Documentation/accounting/psi.rst), if the kernel counts them. */
export const stalled = (): number =>
  ["cpu", "io"].reduce((sum, what) => {
    const file = `/proc/pressure/${what}`;
    return existsSync(file) ? sum + Number(/^some .* total=(\d+)/.exec(readFileSync(file, "utf8"))?.[1]) / 1000 : sum;
  }, 0);
/** A clock that stands still meanwhile, milliseconds: for what is to be so in time, whatever else the machine does. */
export const calmTime = (): number => performance.now() - stalled();

/**
 * Lets time pass for something of which nothing is to be seen.
 * @param milliseconds of `calmTime`, or ten times as many of any
 */
export async function calmSleep(milliseconds: number): Promise<void> {
  const [begun, calm] = [performance.now(), calmTime()];
  while (calmTime() - calm < milliseconds && performance.now() - begun < 10 * milliseconds) await sleep(20);
}

/**
 * Waits until something is so; it is looked at ever less often.
 * @param what for the reader of a failure
 * @param milliseconds of `calmTime` at most; a number of one's own only where the time is what is tested
 * @returns milliseconds that it took
 * @throws when it is not so in time
 */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string) = "it is so",
  milliseconds = patience,
): Promise<number> {
  const [began, calm] = [performance.now(), calmTime()];
  for (;;) {
    if (await isSo()) return performance.now() - began;
    const took = performance.now() - began;
    if (calmTime() - calm > milliseconds || took > milliseconds + patience)
      assert.fail(`not within ${milliseconds} ms: ${typeof what === "string" ? what : what()}`);
    await sleep(Math.min(5 + took / 10, 100));
  }
}
