import { z } from "zod";

/** Building blocks for request schemas: Go sends null for what is absent, and fields that are not known yet. */
export const text = z.string().nullish();
export const number = z.int().nullish();
export const count = z.int().nonnegative().nullish();
export const boolean = z.boolean().nullish();
export const texts = z.array(z.string()).nullish();
/** A list, or one text as old clients send (moby api/types/strslice). */
export const words = z.union([z.string().transform((word) => [word]), z.array(z.string())]).nullish();
export const textMap = z
  .record(
    z.string(),
    z
      .string()
      .nullish()
      .transform((value) => value ?? ""),
  )
  .nullish();
/** The keys of an object whose values say nothing: `{"80/tcp":{}}`. */
export const keySet = z.record(z.string(), z.unknown()).nullish();
export const anything = z.unknown().optional();

/** An object of these fields alone: another one that says something is refused by its name. */
export const only = <S extends z.ZodRawShape>(shape: S) =>
  z.looseObject(shape).superRefine((body, context) => {
    for (const [field, value] of Object.entries(body))
      if (!Object.hasOwn(shape, field) && !isNeutral(value))
        context.addIssue({ code: "custom", path: [field], message: "is not supported: this field is not known" });
  });

/** True for what means "not set": null, "", 0, false, [] and {}. */
export function isNeutral(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (typeof value === "object") return Object.keys(value).length === 0;
  return value === "" || value === 0 || value === false;
}
