import type { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import type { HealthCheck } from "../../model/container.ts";
import { isNeutral, number, only, words } from "../schemas.ts";
import { duration, nanoseconds } from "../swarm/duration.ts";

const durations = ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const;
/** `Healthcheck`, in a container's and a service's words (moby api/types/container, HealthConfig). */
export const healthCheck = only({
  Test: words,
  Interval: duration,
  Timeout: duration,
  StartPeriod: duration,
  StartInterval: duration,
  Retries: number,
});

/**
 * What a request says of a container's health; undefined when it says nothing.
 * @throws {EngineError} invalid, with Docker's texts (moby daemon/container.go, validateHealthCheck)
 */
export function readHealthCheck(body: z.infer<typeof healthCheck> | null | undefined): HealthCheck | undefined {
  if (!body || Object.values(body).every(isNeutral)) return undefined;
  const test = body.Test ?? [];
  const [kind] = test;
  if (kind !== undefined && !["CMD", "CMD-SHELL", "NONE"].includes(kind))
    throw invalid(`Healthcheck.Test must begin with CMD, CMD-SHELL or NONE: ${JSON.stringify(kind)}`);
  for (const field of durations) {
    const value = body[field] ?? 0;
    if (value !== 0 && value < 1e6) throw invalid(`${field} in Healthcheck cannot be less than 1ms`);
  }
  if ((body.Retries ?? 0) < 0) throw invalid("Retries in Healthcheck cannot be negative");
  const milliseconds = (field: (typeof durations)[number]) => (body[field] ?? 0) / 1e6;
  return {
    test,
    interval: milliseconds("Interval"),
    timeout: milliseconds("Timeout"),
    startPeriod: milliseconds("StartPeriod"),
    startInterval: milliseconds("StartInterval"),
    retries: body.Retries ?? 0,
  };
}

/** As inspect shows it: what is 0 is left out. */
export function healthCheckJson({ test, retries, ...check }: HealthCheck): object {
  const named = {
    Interval: nanoseconds(check.interval),
    Timeout: nanoseconds(check.timeout),
    StartPeriod: nanoseconds(check.startPeriod),
    StartInterval: nanoseconds(check.startInterval),
    Retries: retries,
  };
  return { Test: test, ...Object.fromEntries(Object.entries(named).filter(([, value]) => value !== 0)) };
}
