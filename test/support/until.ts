import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** How long tests wait for what comes at once on an idle machine, milliseconds: a loaded one takes its time. */
export const patience = 60_000;

/**
 * Waits until something is so; it is looked at ever less often.
 * @param what for the reader of a failure
 * @param milliseconds at most; a number only where the time is what is tested, or where it takes longer than `patience` anyhow
 * @returns milliseconds that it took
 * @throws when it is not so in time
 */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string) = "it is so",
  milliseconds = patience,
): Promise<number> {
  const began = performance.now();
  for (;;) {
    // What was so at the end of a late look was so in time, as far as anybody knows.
    if (await isSo()) return performance.now() - began;
    const took = performance.now() - began;
    if (took > milliseconds) assert.fail(`not within ${milliseconds} ms: ${typeof what === "string" ? what : what()}`);
    await sleep(Math.min(5 + took / 10, 100));
  }
}
