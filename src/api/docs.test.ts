import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createBody, hostConfig } from "./containers/create-body.ts";
import { routes } from "./routes.ts";

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
