import assert from "node:assert/strict";
import { it } from "node:test";
import type { HealthCheck, HealthStatus } from "../model/container.ts";
import { type HealthReport, judged, pauseBefore, withDefaults } from "./health.ts";

const begun = Date.parse("2026-01-01T00:00:00Z");
const time = (seconds: number) => new Date(begun + seconds * 1000).toISOString();
const silent = { test: ["CMD", "true"], interval: 0, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0 };
const check: HealthCheck = { ...withDefaults(silent), startPeriod: 10_000, startInterval: 2000, interval: 5000 };

/** The states after each exit code, one every three seconds. */
function states(codes: readonly number[], of: HealthCheck = check, first: HealthStatus = "starting") {
  let now: HealthReport & { readonly status: HealthStatus } = { status: first, failingStreak: 0, log: [] };
  return codes.map((exitCode, at) => {
    now = judged(now, { start: time(3 * at), end: time(3 * at), exitCode, output: "" }, of, time(0));
    return `${now.status} ${now.failingStreak} ${now.log.map((one) => one.exitCode).join(",")}`;
  });
}

it("what a check does not say is as in Docker", () => {
  assert.deepEqual(withDefaults(silent), {
    ...{ test: ["CMD", "true"], interval: 30_000, timeout: 30_000, startPeriod: 0, startInterval: 5000, retries: 3 },
  });
  assert.equal(withDefaults({ ...silent, retries: 1 }).retries, 1);
});

it("failures count after the start period, three in a row are unhealthy, and one success is healthy", () => {
  assert.deepEqual(states([1, -1, 1, 1, 1, 1, 1, 0]), [
    "starting 0 1",
    "starting 0 1,-1",
    "starting 0 1,-1,1",
    "starting 0 1,-1,1,1",
    "starting 1 1,-1,1,1,1",
    "starting 2 -1,1,1,1,1",
    "unhealthy 3 1,1,1,1,1",
    "healthy 0 1,1,1,1,0",
  ]);
});

it("once healthy, the start period is over", () => {
  assert.deepEqual(
    states([0, 1, 1, 0, 1]).map((state) => state.split(" ").slice(0, 2).join(" ")),
    ["healthy 0", "healthy 1", "healthy 2", "healthy 0", "healthy 1"],
  );
  assert.match(states([1], { ...check, startPeriod: 0, retries: 1 })[0] ?? "", /^unhealthy 1/);
});

it("a container that is starting is looked at more often", () => {
  assert.deepEqual(
    [pauseBefore(check, "starting", 9999), pauseBefore(check, "starting", 10_000), pauseBefore(check, "healthy", 0)],
    [2000, 5000, 5000],
  );
});
