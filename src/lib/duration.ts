const units: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};
const one = /(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)/g;

/**
 * A span as Go writes it: `1h30m`, `1.5s` (Go's time.ParseDuration).
 * @returns milliseconds, 0 or more; undefined for what is none
 */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const parts = [...text.matchAll(one)];
  if (text === "" || parts.map(([part]) => part).join("") !== text) return undefined;
  return parts.reduce((sum, [, number, unit = ""]) => sum + Number(number) * (units[unit] ?? 0), 0);
}

/** The same the other way: `1m30s`, `500ms` (Go's time.Duration, String). @param milliseconds 0 or more */
export function durationText(milliseconds: number): string {
  if (milliseconds === 0) return "0s";
  if (milliseconds < 1) return milliseconds < 1e-3 ? `${milliseconds * 1e6}ns` : `${milliseconds * 1e3}µs`;
  if (milliseconds < 1000) return `${milliseconds}ms`;
  const minutes = Math.floor(milliseconds / 60_000);
  const seconds = `${(milliseconds - minutes * 60_000) / 1000}s`;
  if (minutes === 0) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
