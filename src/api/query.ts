import type { Filters } from "../engine/engine.ts";
import { invalid } from "../lib/errors.ts";
import type { Call } from "./call.ts";

/** A boolean as Docker reads it: everything but "", 0, no, false and none is true (moby api/server/httputils/form.go). */
export function flag(query: URLSearchParams, key: string, otherwise = false): boolean {
  if (!query.has(key)) return otherwise;
  return !["", "0", "no", "false", "none"].includes((query.get(key) ?? "").trim().toLowerCase());
}

/** A boolean as Go's strconv.ParseBool reads it; false when absent or empty. @throws {EngineError} invalid, Docker's text */
export function strictFlag(query: URLSearchParams, key: string): boolean {
  const text = query.get(key) ?? "";
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False|)$/.test(text)) return false;
  throw invalid(`invalid value for ${key}: ${text}`);
}

const largestVersion = 2n ** 64n - 1n;

/**
 * `version`: that of the object which was changed, 0 to 2^64 - 1. @param of what has the version, "swarm" or "node"
 * @throws {EngineError} invalid, Docker's text (moby daemon/server/router/swarm/cluster_routes.go)
 */
export function objectVersion(query: URLSearchParams, of: string): number {
  const text = query.get("version") ?? "";
  const isNumber = /^\d+$/.test(text);
  if (isNumber && BigInt(text) <= largestVersion) return Number(text);
  const fault = isNumber ? "value out of range" : "invalid syntax";
  throw invalid(`invalid ${of} version '${text}': strconv.ParseUint: parsing ${JSON.stringify(text)}: ${fault}`);
}

/** A whole number, or undefined when the key is absent or empty. @throws {EngineError} invalid */
export function whole(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key) ?? "";
  if (text === "") return undefined;
  if (!/^[+-]?\d{1,15}$/.test(text)) throw invalid(`invalid value "${text}" for ${key}: not a whole number`);
  return Number(text);
}

/**
 * `{"key":{"value":true}}`, or `{"key":["value"]}` as older clients send.
 * @throws {EngineError} invalid
 */
export function readFilters(query: URLSearchParams): Filters {
  const text = query.get("filters") ?? "";
  if (text === "") return new Map();
  const filters = new Map<string, readonly string[]>();
  for (const [key, values] of Object.entries(parseObject(text))) {
    const list = Array.isArray(values) ? values : Object.keys(asObject(values));
    if (!list.every((v) => typeof v === "string")) throw invalid(`invalid filter: the values of '${key}' are no text`);
    filters.set(key, list);
  }
  return filters;
}

function parseObject(text: string): object {
  try {
    return asObject(JSON.parse(text));
  } catch (error) {
    throw invalid(`invalid filter: ${(error as Error).message}`);
  }
}

function asObject(value: unknown): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw invalid("invalid filter: not an object");
}

/**
 * Milliseconds since 1970 from seconds with a fraction (`1700000000.000000001`) or RFC 3339.
 * @throws {EngineError} invalid
 */
export function readTime(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key) ?? "";
  if (text === "") return undefined;
  const time = /^\d{1,11}(\.\d*)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(time)) throw invalid(`invalid value "${text}" for ${key}: neither seconds since 1970 nor RFC 3339`);
  return time;
}

/** What a placeholder of the route matched. */
export const param = (call: Call, name: string): string => call.params[name] ?? "";
