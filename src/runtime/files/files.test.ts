import assert from "node:assert/strict";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { directoryFlags, deviceNumber, deviceParts, openInRoot } from "../../kernel/files.ts";
import { absolutePath, baseOf, finalPath } from "./paths.ts";
import { overlayAt } from "./view.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-files-"));
let root: number;
before(() => {
  mkdirSync(join(directory, "root/usr/lib"), { recursive: true });
  writeFileSync(join(directory, "root/usr/lib/file"), "");
  writeFileSync(join(directory, "outside"), "");
  const links = { lib: "usr/lib", abs: "/usr/lib", up: "../../outside", loop: "loop", gone: "/none/at/all" };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(directory, "root", name));
  root = openSync(join(directory, "root"), directoryFlags);
});
after(() => {
  closeSync(root);
  rmSync(directory, { recursive: true });
});

test("paths keep the slash and the dot at their end", () => {
  const paths = {
    a: "/a",
    "/a/": "/a/",
    "/a/.": "/a/.",
    "../a/../b": "/b",
    "": "/",
    "/": "/",
    ".": "/.",
    "a//b": "/a/b",
  };
  for (const [given, absolute] of Object.entries(paths)) assert.equal(absolutePath(given), absolute, given);
  assert.deepEqual(["/", "/a/", "/a/.", "/a/b"].map(baseOf), ["/", "a", ".", "b"]);
});

test("links lead where they lead inside the root", () => {
  const ways = { "/lib/file": "/usr/lib/file", "/abs/x": "/usr/lib/x", "/up": "/outside", "/gone": "/none/at/all" };
  for (const [path, final] of Object.entries(ways)) assert.equal(finalPath(root, path), final);
  assert.throws(() => finalPath(root, "/loop"), { code: "ELOOP" });
});

test("no path leads out of the root", () => {
  for (const path of ["/abs/file", "lib/file", "../../usr/lib/file"]) closeSync(openInRoot(root, path, 0));
  for (const path of ["/up", "../outside", directory])
    assert.throws(() => openInRoot(root, path, 0), { code: "ENOENT" });
  assert.throws(() => openInRoot(root, "usr\0", 0), { code: "EINVAL" });
  assert.throws(() => openInRoot(root, "loop", 0), { code: "ELOOP" });
});

test("an overlay is found by its upper directory", () => {
  const mountinfo = [
    "30 1 0:26 / / rw - ext4 /dev/vda rw",
    "41 30 0:40 /etc /elsewhere rw - overlay overlay rw,lowerdir=/a,upperdir=/b/fs,workdir=/b/work",
    "42 30 0:40 / /run/with\\040space rw shared:3 - overlay overlay rw,lowerdir=/a,upperdir=/b/fs,workdir=/b/work",
  ].join("\n");
  assert.equal(overlayAt(mountinfo, "/b/fs"), "/run/with space");
  assert.equal(overlayAt(mountinfo, "/b"), undefined);
});

test("device numbers have both their parts", () => {
  for (const [major, minor] of [
    [1, 3],
    [253, 70_000],
    [5000, 255],
  ] as const)
    assert.deepEqual(deviceParts(deviceNumber(major, minor)), { major, minor });
  assert.equal(deviceNumber(1, 3), 0x103);
});
