import assert from "node:assert/strict";
import { test } from "node:test";
import { empty } from "./call.ts";
import { createRouter } from "./router.ts";

const handler = () => empty();
const match = createRouter([
  { method: "GET", path: "/images/json", handler },
  { method: "GET", path: "/images/{name...}/json", handler },
  { method: "GET", path: "/containers/{name}/json", handler },
  { method: "DELETE", path: "/images/{name...}", handler },
  { method: "GET", path: "/a.b", handler },
]);
const found = (method: string, path: string) => {
  const { route, params } = match(method, path) ?? {};
  return [route?.path, params?.name];
};

test("placeholders take one segment or several, decoded", () => {
  assert.deepEqual(found("GET", "/images/json"), ["/images/json", undefined]);
  assert.deepEqual(found("GET", "/images/a/b:c/json"), ["/images/{name...}/json", "a/b:c"]);
  assert.deepEqual(found("GET", "/images/json/json"), ["/images/{name...}/json", "json"]);
  assert.deepEqual(found("GET", "/containers/a%2Fb/json"), ["/containers/{name}/json", "a/b"]);
  assert.deepEqual(found("DELETE", "/images/x@sha256:ab"), ["/images/{name...}", "x@sha256:ab"]);
});

test("nothing else fits", () => {
  for (const [method, path] of [
    ["POST", "/images/json"],
    ["GET", "/containers/a/b/json"],
    ["GET", "/containers//json"],
    ["GET", "/images//json/"],
    ["GET", "/axb"],
    ["GET", "/images/json/"],
  ] as const)
    assert.equal(match(method, path), undefined, path);
});
