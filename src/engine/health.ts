import type { HealthCheck, HealthStatus } from "../model/container.ts";

/** One look at a container's health. */
export interface HealthResult {
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  /** 0: healthy; -1: the check did not run, or not to its end. */
  readonly exitCode: number;
  readonly output: string;
}
/** What was found out by the last looks, the oldest first; it is kept in memory alone. */
export interface HealthReport {
  readonly failingStreak: number;
  readonly log: readonly HealthResult[];
}

const kept = 5; // results of a container (moby daemon/health.go, like the following)
const defaults = { interval: 30_000, timeout: 30_000, startPeriod: 0, startInterval: 5000, retries: 3 } as const;

const longestTimer = 2 ** 31 - 1; // milliseconds
const timer = (milliseconds: number) => Math.min(Math.ceil(milliseconds), longestTimer);

/** A check with Docker's defaults for what it does not say, and durations that timers take. */
export const withDefaults = ({ test, ...check }: HealthCheck): HealthCheck => ({
  test,
  interval: timer(check.interval || defaults.interval),
  timeout: timer(check.timeout || defaults.timeout),
  startPeriod: check.startPeriod || defaults.startPeriod,
  startInterval: timer(check.startInterval || defaults.startInterval),
  retries: check.retries || defaults.retries,
});

/** Milliseconds until the next look. @param age milliseconds since the container's start */
export const pauseBefore = (check: HealthCheck, status: HealthStatus, age: number): number =>
  status === "starting" && age < check.startPeriod ? check.startInterval : check.interval;

/** What a result makes of a container's health. @param startedAt of the container, RFC 3339 */
export function judged(
  { status, failingStreak, log }: HealthReport & { readonly status: HealthStatus },
  result: HealthResult,
  { startPeriod, retries }: HealthCheck,
  startedAt: string,
): HealthReport & { readonly status: HealthStatus } {
  const next = { status, failingStreak, log: [...log, result].slice(-kept) };
  if (result.exitCode === 0) return { ...next, status: "healthy", failingStreak: 0 };
  if (status === "starting" && Date.parse(result.start) - Date.parse(startedAt) < startPeriod) return next;
  const streak = failingStreak + 1;
  return { ...next, failingStreak: streak, status: streak >= retries ? "unhealthy" : status };
}
