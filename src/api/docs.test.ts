import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { z } from "zod";
import { createBody, hostConfig } from "./containers/create-body.ts";
import { routes } from "./routes.ts";
import { serviceSpecBody } from "./services/spec-body.ts";

const page = readFileSync(new URL("../../docs/docker-api.md", import.meta.url), "utf8");

test("the page lists the operations of the router, in its order", () => {
  const listed = [...page.matchAll(/^\| `([A-Z]+ \/\S*)` \| (?:done|part|refused) \|/gm)].map((match) => match[1]);
  assert.deepEqual(
    listed,
    routes.map(({ method, path }) => `${method} ${path}`),
  );
});

test("the page lists the fields of create that are honoured", () => {
  const fields = (name: string) => {
    const text = new RegExp(`^- \`${name}\`: ([^;.]*)[;.]`, "m").exec(page)?.[1] ?? "";
    return text.split(/,\s+/).toSorted();
  };
  const own = Object.keys(createBody.shape).filter((key) => !["HostConfig", "NetworkingConfig"].includes(key));
  assert.deepEqual(fields("Config"), own.toSorted());
  assert.deepEqual(fields("HostConfig"), Object.keys(hostConfig.shape).toSorted());
});

/** The fields of a schema that are no objects of known fields, as `Mode.Replicated.Replicas`. */
function fieldsOf(schema: z.core.$ZodType, path: string): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return fieldsOf(schema.unwrap(), path);
  if (schema instanceof z.ZodArray) return fieldsOf(schema.element, path);
  if (!(schema instanceof z.ZodObject) || Object.keys(schema.shape).length === 0) return [path];
  return Object.entries(schema.shape).flatMap(([key, member]) =>
    fieldsOf(member as z.core.$ZodType, path === "" ? key : `${path}.${key}`),
  );
}

test("the page on services says of each field of a spec what becomes of it, and of no other", () => {
  const services = readFileSync(new URL("../../docs/services.md", import.meta.url), "utf8");
  const section = services.split("## The fields of a spec\n")[1]?.split(/^## /m)[0] ?? "";
  const [outer = "", inner = ""] = section.split("Those of `TaskTemplate.ContainerSpec`");
  const listed = (text: string, path: string) =>
    [...text.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([\w.]+)`/g)].map(([, field = ""]) => path + field),
    );
  const told = [...listed(outer, ""), ...listed(inner, "TaskTemplate.ContainerSpec.")];
  const fields = fieldsOf(serviceSpecBody, "");
  const isOf = (field: string, whole: string) => field === whole || field.startsWith(`${whole}.`);
  assert.deepEqual(
    fields.filter((field) => told.filter((whole) => isOf(field, whole)).length !== 1),
    [],
    "fields that are told of not at all, or twice",
  );
  assert.deepEqual(
    told.filter((whole) => !fields.some((field) => isOf(field, whole))),
    [],
    "told, and no fields",
  );
  assert.ok(fields.length > 80, `${fields.length} fields`);
});
