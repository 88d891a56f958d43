import assert from "node:assert/strict";
import { test } from "node:test";
import { fits, platformText, readPlatform } from "./platform.ts";

test("platforms are read as users write them", () => {
  const texts = {
    "linux/arm64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
    "Linux/AArch64": "linux/arm64",
    arm64: "linux/arm64",
    "linux/x86_64": "linux/amd64",
    "linux/arm": "linux/arm/v7",
    "linux/arm/v6": "linux/arm/v6",
    armel: "linux/arm/v6",
    "windows/amd64": "windows/amd64",
  };
  for (const [text, shown] of Object.entries(texts)) assert.equal(platformText(readPlatform(text)), shown);
  assert.equal(platformText(readPlatform("linux")), platformText(readPlatform(undefined)));
  for (const wrong of ["a/b/c/d", "linux/", "li nux"]) assert.throws(() => readPlatform(wrong), { class: "invalid" });
});

test("an image fits who names its platform", () => {
  const arm64 = { os: "linux", architecture: "arm64", variant: "v8" };
  assert.ok(fits(arm64, readPlatform("linux/arm64")));
  assert.ok(fits({ os: "linux", architecture: "amd64" }, readPlatform("linux/amd64")));
  assert.ok(!fits(arm64, readPlatform("linux/amd64")));
  assert.ok(!fits({ ...arm64, os: "windows" }, readPlatform("linux/arm64")));
  assert.ok(!fits({ os: "linux", architecture: "arm", variant: "v6" }, readPlatform("linux/arm/v7")));
});
