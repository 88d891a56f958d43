import { z } from "zod";
import { invalid } from "../../lib/errors.ts";

/** A time.Duration of Go: nanoseconds, 64 bits. */
export const duration = z
  .number()
  .gte(-(2 ** 63))
  .lt(2 ** 63)
  .nullish();

/** Whole milliseconds from nanoseconds; absent is 0. @throws {EngineError} invalid, naming the field, for parts of one */
export function milliseconds(field: string, nanoseconds: number | null | undefined): number {
  const value = (nanoseconds ?? 0) / 1e6;
  if (!Number.isInteger(value)) throw invalid(`${field} must be whole milliseconds`);
  return value;
}
export const nanoseconds = (milliseconds: number) => milliseconds * 1e6;
