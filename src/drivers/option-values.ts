import { isIP } from "node:net";
import { type EngineError, invalid } from "../lib/errors.ts";
import type { NetworkSpec } from "../model/network.ts";

/** Go's strconv.ParseBool, which is what Docker's users have learned to write. */
const bools: Readonly<Record<string, boolean>> = {
  1: true,
  t: true,
  T: true,
  true: true,
  TRUE: true,
  True: true,
  0: false,
  f: false,
  F: false,
  false: false,
  FALSE: false,
  False: false,
};

function badValue(key: string, value: string, why: string): EngineError {
  return invalid(`failed to parse ${key} value: ${value} (${why})`);
}

/** @throws {EngineError} invalid, with Docker's text */
export function readBool(key: string, value: string): boolean {
  const read = Object.hasOwn(bools, value) ? bools[value] : undefined;
  if (read === undefined)
    throw badValue(key, value, `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
  return read;
}

/**
 * Reads bytes of a packet. The kernel's smallest MTU for IPv4 is 68, for IPv6 1280 (RFC 8200 section 5).
 * @throws {EngineError} invalid, with Docker's text
 */
export const mtuReader =
  ({ ipv6 }: Pick<NetworkSpec, "ipv6">) =>
  (key: string, value: string): number | undefined => {
    if (!/^[+-]?\d+$/.test(value))
      throw badValue(key, value, `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`);
    const mtu = Number(value);
    if (mtu < 0 || mtu > 65_535 || (mtu > 0 && mtu < 68)) throw invalid(`invalid MTU number: ${value}`);
    if (ipv6 && mtu > 0 && mtu < 1280) throw invalid(`invalid MTU number: ${value}: IPv6 needs 1280 bytes or more`);
    return mtu === 0 ? undefined : mtu;
  };

/** One of the words in `modes`. @throws {EngineError} invalid */
export function readMode<M extends string>(key: string, value: string, modes: readonly M[]): M {
  const mode = modes.find((m) => m === value);
  if (mode === undefined) throw badValue(key, value, `unknown gateway mode ${value}`);
  return mode;
}

/** @throws {EngineError} invalid, with Docker's text; also for an address of the other family */
export function readAddress(key: string, value: string, family?: 4 | 6): string {
  const found = isIP(value);
  if (found === 0) throw badValue(key, value, "nil ip");
  if (family !== undefined && found !== family) throw badValue(key, value, `not an IPv${family} address`);
  return value;
}

/** Reads one option if it is there. */
export type OptionReader = <T>(key: string, reader: (key: string, value: string) => T) => T | undefined;
export const optionReader =
  (spec: NetworkSpec): OptionReader =>
  (key, reader) => {
    const value = Object.hasOwn(spec.options, key) ? spec.options[key] : undefined;
    return value === undefined ? undefined : reader(key, value);
  };

export const familyKeys = {
  enableIpv4: "com.docker.network.enable_ipv4",
  enableIpv6: "com.docker.network.enable_ipv6",
} as const;

/**
 * `enable_ipv4` and `enable_ipv6` are the label form of `--ipv4` and `--ipv6`: the engine has read them into the spec.
 * @throws {EngineError} invalid
 */
export function checkFamilies(spec: NetworkSpec): void {
  const read = optionReader(spec);
  for (const [key, flag, has] of [
    [familyKeys.enableIpv4, "--ipv4", spec.ipv4],
    [familyKeys.enableIpv6, "--ipv6", spec.ipv6],
  ] as const) {
    const wished = read(key, (k, v) => {
      try {
        return readBool(k, v);
      } catch {
        throw invalid(`driver-opt "${k}" is not a valid bool`);
      }
    });
    if (wished !== undefined && wished !== has) throw invalid(`driver-opt "${key}" and ${flag} contradict each other`);
  }
  if (!spec.ipv4 && !spec.ipv6) throw invalid("IPv4 or IPv6 must be enabled");
}

/** Beginning of interface names; it leaves room for a number of up to four digits. @throws {EngineError} invalid */
export function readPrefix(key: string, value: string): string {
  if (value.length > 11) throw badValue(key, value, "longer than 11 characters");
  return readLinkName(key, value);
}

/** A name that Linux takes for an interface and that is safe in nft text. @throws {EngineError} invalid */
export function readLinkName(key: string, value: string): string {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(value) || value === "." || value === ".." || value === "lo")
    throw badValue(key, value, "an interface name has 1 to 15 letters, digits, '.', '_' or '-'");
  return value;
}

/**
 * Refuses what nobody would honour: an unknown key, and a known one with a reason.
 * @throws {EngineError} invalid, naming the nearest known key
 */
export function refuseUnknown(
  spec: NetworkSpec,
  known: readonly string[],
  refused: Readonly<Record<string, string>> = {},
): void {
  for (const key of Object.keys(spec.options)) {
    if (known.includes(key)) continue;
    const why = Object.hasOwn(refused, key) ? refused[key] : undefined;
    if (why !== undefined) throw invalid(`option ${key} is not supported by the ${spec.driver} driver: ${why}`);
    const near = nearest(key, known);
    throw invalid(
      `unknown option "${key}" for the ${spec.driver} driver${near === undefined ? "" : `: did you mean "${near}"?`}`,
    );
  }
}

/** The known key with the fewest edits away; undefined when even that has little to do with it. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  const short = (k: string) => k.slice(k.lastIndexOf(".") + 1);
  const ranked = known.map((k) => ({ k, edits: Math.min(distance(key, k), distance(short(key), short(k))) }));
  const [best] = ranked.toSorted((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= Math.ceil(short(best.k).length / 2) ? best.k : undefined;
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= Math.min(a.length, 100); i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1)
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    row = next;
  }
  return row.at(-1) ?? 0;
}
