import { parseDuration } from "../lib/duration.ts";
import { invalid } from "../lib/errors.ts";
import type { Filters } from "./engine.ts";

/** @throws {EngineError} invalid, with Docker's text, at the first key that is not in `known` */
export function checkFilters(filters: Filters, known: readonly string[]): void {
  for (const key of filters.keys()) if (!known.includes(key)) throw invalid(`invalid filter '${key}'`);
}

/** True when each key of `filters` that `tests` knows has a value that passes its test. */
export function passesFilters(filters: Filters, tests: Readonly<Record<string, (value: string) => boolean>>): boolean {
  for (const [key, values] of filters) {
    const test = tests[key];
    if (test !== undefined && values.length > 0 && !values.some(test)) return false;
  }
  return true;
}

/** `label=key`, `label=key=value`: all of them must fit, unlike the values of other filters. */
export function passesLabels(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  const fits = (text: string) => {
    const at = text.indexOf("=");
    if (at < 0) return Object.hasOwn(labels, text);
    return labels[text.slice(0, at)] === text.slice(at + 1);
  };
  return (filters.get("label") ?? []).every(fits) && !(filters.get("label!") ?? []).some(fits);
}

/** Filters by name, as Docker does: a regular expression, or a part of the name where it is none. */
export function nameFits(name: string, pattern: string): boolean {
  try {
    return new RegExp(pattern).test(name);
  } catch {
    return name.includes(pattern);
  }
}

/**
 * Time of `until=…` in milliseconds: a Go duration (`10m`), seconds since 1970, or RFC 3339.
 * @throws {EngineError} invalid
 */
export function untilTime(filters: Filters): number {
  const texts = filters.get("until") ?? [];
  if (texts.length > 1) throw invalid("more than one until filter specified");
  const text = texts[0];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const span = parseDuration(text);
  if (span !== undefined) return Date.now() - span;
  const parsed = Date.parse(text);
  if (Number.isNaN(parsed)) throw invalid(`invalid until filter: ${text}`);
  return parsed;
}
